"""Tests that keep the documentation true: its commands run."""
