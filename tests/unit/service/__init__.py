"""Tests of the service shell."""
