"""The planner, by example."""
