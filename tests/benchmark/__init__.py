"""``qkd bench`` runs every stage and prints what it promises; speed itself is never asserted."""
