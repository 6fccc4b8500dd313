"""The security engine, for every input."""
