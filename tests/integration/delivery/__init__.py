"""Key delivery of a running pair, as applications meet it."""
