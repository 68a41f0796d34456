"""Is a mean above its margin? Student's t over the seeds, Holm over the questions.

Both sides are tested at once, so that `holds` and `fails` are each wrong at most half of the
level when the true effect equals the margin. With the five seeds that are usual here Student's
t is the honest interval: a bootstrap of five values (BCa too) covers far less than it says.

Source: Student 1908, "The probable error of a mean"; Holm 1979, "A simple sequentially
rejective multiple test procedure".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats takes a second longer to import

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its 95 % interval, and the p-value of "the mean is the margin"."""

    mean: float
    low: float
    high: float
    p: float


def estimate(effects: Sequence[float], margin: float) -> Estimate:
    """Student's t interval of the mean of `effects`, and the two-sided test against `margin`.

    One seed gives no interval (infinite, p = 1). Effects that agree to the last digit are not a
    sample but a fact (the quantity does not depend on the seed): p is 0 or 1.
    """
    values = np.asarray(effects, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, -math.inf, math.inf, 1.0)
    if np.ptp(values) == 0.0:
        return Estimate(mean, mean, mean, 1.0 if mean == margin else 0.0)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(len(values) - 1, -abs(mean - margin) / error))
    return Estimate(mean, mean - half, mean + half, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[int(index)] = running
    return adjusted
