"""Real processes over loopback."""
