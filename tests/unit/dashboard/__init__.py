"""The trend, the charts and the page of a node."""
