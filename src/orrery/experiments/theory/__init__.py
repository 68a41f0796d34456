"""Theory: what prediction, compression and learning have in common."""
