"""State machines: any order of requests, compared with a simple model."""
