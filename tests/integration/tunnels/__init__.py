"""Both ends of tunnels as processes, with keys of a running pair of nodes."""
