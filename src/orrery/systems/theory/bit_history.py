"""Bit histories: what a context has seen, in one byte.

A history is a pair (zeros, ones) of counts that forgets: a bit adds one to its own count, and
what exceeds 2 of the other count falls to its length in binary. So a history says how sure the
past is (many of one kind, none of the other) and how fresh (a few after many wipe these out), and
few enough histories exist to learn, for each, how often a 1 really follows.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression",
Florida Tech. CS-2005-16 (the counters of PAQ6, and in PAQ7 and later a chance learnt for each).
Differs from the papers: the pairs are bounded by one rule, larger (smaller + 1) <= BOUND, so that
a byte can number them; the last bit is not kept.
"""

import numpy as np
from jaxtyping import Int64, UInt8

from orrery.catalog import System

SYSTEM = System(
    stem="bit_history", area="theory", title="Bit histories (indirect context modelling)",
    year=2005, papers=("Mahoney 2005, CS-2005-16",), builds_on=(), realises=(),
)  # fmt: skip

Counts = tuple[int, int]

BOUND = 64
"""The longest run of one bit that is told apart from a longer one."""


def follow(counts: Counts, bit: int, bound: int = BOUND) -> Counts:
    """The history after one more `bit`."""
    own, other = counts[bit] + 1, counts[1 - bit]
    if other > 2:
        other = other.bit_length()
    while max(own, other) * (min(own, other) + 1) > bound:
        if own >= other:
            own -= 1
        else:
            other -= 1
    return (own, other) if bit == 0 else (other, own)


def histories(bound: int = BOUND) -> tuple[list[Counts], UInt8[np.ndarray, "histories 2"]]:
    """Every history that can come up, the empty one first, and which follows which.

    Returns:
        The counts of each, and the numbers of those that follow it: after a 0, after a 1.

    Raises:
        ValueError: bound is below 4, or so large that a byte cannot number the histories.
    """
    if not 4 <= bound <= BOUND:
        raise ValueError(f"bound must be in [4, {BOUND}], got {bound}")
    found = {(0, 0): 0}
    order = [(0, 0)]
    after = []
    for counts in order:  # grows while it is walked
        row = []
        for bit in (0, 1):
            following = follow(counts, bit, bound)
            if following not in found:
                found[following] = len(order)
                order.append(following)
            row.append(found[following])
        after.append(row)
    return order, np.array(after, dtype=np.uint8)


def first_guess(order: list[Counts]) -> Int64[np.ndarray, " histories"]:
    """Chance of a 1 after each history before anything is learnt, in 2^-22: (n1 + d) / (n + 2d)."""
    zeros, ones = np.array(order, dtype=np.int64).T
    return 2**22 * (5 * ones + 2) // (5 * (zeros + ones) + 4)  # d = 0.4: sooner sure than Laplace
