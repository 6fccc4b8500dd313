"""The security engine, by example."""
