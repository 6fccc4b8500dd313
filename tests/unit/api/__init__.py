"""What applications use from Python."""
