"""What the claims of `chinchilla_fit` read from its measurements."""

import numpy as np

from orrery.lab import Measured

KAPLAN = {"parameters": 0.076, "data": 0.095, "compute": 0.050}  # exponents of the loss


def foresight(m: Measured) -> float:
    """By how much the error of Kaplan's law on larger networks is below 10 % and the gain."""
    return min(0.10, m["gain"]) - m["kaplan/worst error"]


def nearer_to_half(m: Measured) -> float:
    """By how much the allocation's exponent is nearer to a half than those of the loss."""
    loss = max(abs(m["chinchilla/alpha"] - 0.5), abs(m["chinchilla/beta"] - 0.5))
    return loss - abs(m["mean/a"] - 0.5)


def drift(m: Measured) -> float:
    """Change of the best tokens per parameter over ten times the compute, in logarithms."""
    ratio = m["chinchilla/tokens per parameter at ten times"] / m["chinchilla/tokens per parameter"]
    return float(abs(np.log(ratio)))


def far_from_kaplan(m: Measured) -> float:
    """How far the exponents are from Kaplan's, as the largest logarithm of their ratio."""
    ratios = [max(m[f"exponent/{x}"], 1e-9) / theirs for x, theirs in KAPLAN.items()]
    return float(np.abs(np.log(ratios)).max())
