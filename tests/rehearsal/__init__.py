"""The protocol in memory, both ends whole, with faults and adversaries."""
