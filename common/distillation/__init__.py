"""Distillation: from detections to secret key, each step a conversation between two halves."""
