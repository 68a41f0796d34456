"""Theory: what learning, prediction and compression have in common."""
