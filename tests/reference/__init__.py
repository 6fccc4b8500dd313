"""Slow, obvious versions of what is fast elsewhere."""
