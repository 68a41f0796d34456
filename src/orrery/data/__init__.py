"""Real data sets that come inside packages, and generators; every set has a card."""
