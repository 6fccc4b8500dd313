"""The commands, by example."""
