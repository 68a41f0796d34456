"""Questions about what a network is made of, and what trains it."""
