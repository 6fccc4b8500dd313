"""Bob, the receiver: what only his end does, from time tags to detections, and the choice of halves in his playbook."""
