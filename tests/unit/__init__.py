"""Single modules, by example."""
