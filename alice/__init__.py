"""Alice's end of the link: what she prepared, and what only she may know."""
