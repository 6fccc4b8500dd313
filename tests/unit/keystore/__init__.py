"""Key stores: what any of them does, and what the one on disk does besides."""
