"""Tests of the shape of the project: layers, kernels, docstrings, roles, files and the wheel."""
