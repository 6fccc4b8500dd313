"""What Alice knows about her source: characterisation from recordings."""
