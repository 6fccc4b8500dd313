"""The one-time pad, piece by piece."""
