"""What a node shows over HTTP: a page, metrics, health and alarms; nothing secret, and nothing can be changed there."""
