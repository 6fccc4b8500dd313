"""One module a proof: what the counts of a block say about the errors and photons nobody saw."""
