"""Mirrors ``common.conversation``."""
