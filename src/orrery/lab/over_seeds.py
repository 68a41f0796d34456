"""Means over the seeds with their intervals, as figures draw them."""

from collections.abc import Iterable, Sequence

from orrery.lab.claim import Measured
from orrery.lab.statistics import estimate


def over_seeds(results: Sequence[Measured], keys: Iterable[str]) -> tuple[list[float], list[float]]:
    """The mean of each quantity, and half the width of its 95 % interval (0 for one seed)."""
    found = [estimate([measured[key] for measured in results], 0.0) for key in keys]
    half = [e.high - e.mean if len(results) > 1 else 0.0 for e in found]
    return [e.mean for e in found], half
