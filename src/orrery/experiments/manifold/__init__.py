"""Questions about manifolds."""
