"""Readers and writers of time tags and emission records; values that are checked once, where they enter."""
