"""What a node shows over HTTP: metrics, health and alarms; nothing secret, and nothing can be changed there."""
