"""Emulated physics against the formulas, with stated false-alarm probabilities."""
