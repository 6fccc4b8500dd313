"""Numba kernels: arrays in, arrays out, nothing else; every one has a slow reference under ``tests/reference``."""
