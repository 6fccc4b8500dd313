"""What applications on the machine of a node use from Python: keys (``keys``) and the one-time pad (``pads``)."""
