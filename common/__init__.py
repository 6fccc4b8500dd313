"""What both ends of a link run: from detections to keys in use."""
