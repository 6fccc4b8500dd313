"""What a link should yield, before it runs: predictions, never decisions about a live key."""
