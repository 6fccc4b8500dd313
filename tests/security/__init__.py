"""Whether the security bounds keep their promise: coverage enumerated, simulated and recomputed."""
