"""How long a key may be: bounds, epsilons and proofs, computed from counts alone. No bits, no messages, no clock."""
