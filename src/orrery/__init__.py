"""orrery: small working models of the great systems of AI, and experiments on what is claimed."""

import os

# A spinning OpenMP barrier makes small products many times slower on a busy machine, and the
# policy is read once, when torch loads: so it is set here, before anything can import torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
