"""Side by side with peers: ratios, never absolute times."""
