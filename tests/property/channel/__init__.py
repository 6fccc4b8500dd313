"""Mirrors ``common.channel``."""
