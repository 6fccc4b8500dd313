"""Mirrors ``common.distillation``."""
