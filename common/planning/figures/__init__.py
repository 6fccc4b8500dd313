"""The published figures as data and as drawings, one module a figure or family."""
