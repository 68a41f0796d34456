"""Logistic mixing: many opinions on the next bit become one, weighted by how good they were.

Opinions are log-odds s_i = ln(p_i / (1 - p_i)), "stretched" chances. The mixture is
p = 1 / (1 + exp(-sum w_i s_i)), "squashed"; after the bit y the weights go down the gradient of the
cost -log2 of the chance given to y, which is simply (p - y) s_i. It is a logistic regression that
learns online and is never finished; one set of weights a context makes it a gated mixture of them.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression",
Florida Tech. CS-2005-16; Knoll and de Freitas 2012, "A Machine Learning Perspective on Predictive
Coding with PAQ8", arXiv:1108.3298, sections 3.1 to 3.3.
Differs from the papers: integers of 64 bits throughout, so that every machine computes the same
chances and reads what any other wrote; weights of all contexts in one table, a row each.

Units: a chance is in 2^-16, of a 1; log-odds in 1/256, up to EDGE; a weight in 2^-16.
"""

import math

import numpy as np
from jaxtyping import Int32, UInt32

from orrery.catalog import System
from orrery.systems.theory.arithmetic_coder import Integer
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="logistic_mixing", area="theory", title="Logistic mixing of predictions", year=2005,
    papers=("arXiv:1108.3298", "Mahoney 2005, CS-2005-16"), builds_on=("arithmetic_coder",),
    realises=(),
)  # fmt: skip

Weights = Int32[np.ndarray, "rows inputs"]
LogOdds = Int32[np.ndarray, " inputs"]
Cells = UInt32[np.ndarray, " cells"]  # a chance in 2^-22, then how often it was corrected
Curves = Int32[np.ndarray, "contexts knots"]

CERTAIN = 2**16
EDGE = 12 * 256 - 1

SQUASH = np.array(
    [
        min(CERTAIN - 1, max(1, round(CERTAIN / (1 + math.exp(-s / 256)))))
        for s in range(-EDGE, EDGE + 1)
    ],
    dtype=np.int64,
)
STRETCH = np.array([round(256 * math.log((p + 0.5) / (4095.5 - p))) for p in range(4096)], np.int32)
"""Of a chance in 2^-12, taken at the middle of its step."""
SHARE = np.array([2**17 // (2 * n + 3) for n in range(1024)], dtype=np.int64)
"""1 / (n + 1.5) in 2^-16: how far the n-th correction goes; a mean that starts unsure."""

KNOTS = 33
GAP = 2 * 2560 // (KNOTS - 1)  # log-odds between two knots of a curve


@compiled
def squash(odds: Integer) -> Integer:
    """The chance with these log-odds, in 2^-16."""
    return SQUASH[min(max(odds, -EDGE), EDGE) + EDGE]


@compiled
def mix(weights: Weights, row: Integer, inputs: LogOdds) -> Integer:
    """Log-odds of the mixture: sum of weight times opinion."""
    total: Integer = np.int64(0)
    for i in range(len(inputs)):
        total += np.int64(weights[row, i]) * np.int64(inputs[i])
    return min(max(total >> 16, -EDGE), EDGE)


@compiled
def correct(weights: Weights, row: Integer, inputs: LogOdds, error: Integer, shift: int) -> None:
    """One step down the gradient: each weight gains its opinion times `error` (bit less chance)."""
    half = np.int64(1) << (shift - 1)
    for i in range(len(inputs)):
        weights[row, i] += (np.int64(inputs[i]) * error + half) >> shift


@compiled
def learn_chance(cells: Cells, cell: Integer, bit: Integer, slowest: int) -> None:
    """Move a chance to `bit` by 1 / (n + 1.5) of the way; n counts up to `slowest`."""
    n = np.int64(cells[cell]) & 1023
    chance = np.int64(cells[cell]) >> 10
    chance += (((bit << 22) - chance) * SHARE[n]) >> 16
    cells[cell] = (chance << 10) | min(n + 1, slowest)


@compiled
def bend(curves: Curves, context: Integer, odds: Integer) -> Integer:
    """The chance that these log-odds mean in this context: a curve, linear between knots."""
    at = min(max(odds, -2559), 2559) + 2560
    knot, past = at // GAP, at % GAP
    return (curves[context, knot] * (GAP - past) + curves[context, knot + 1] * past) // GAP


@compiled
def learn_bend(curves: Curves, context: Integer, odds: Integer, bit: Integer, shift: int) -> None:
    """Move the nearer knot of the curve towards `bit`."""
    at = min(max(odds, -2559), 2559) + 2560
    knot = (at + GAP // 2) // GAP
    goal = (CERTAIN - 1) * bit
    curves[context, knot] += (goal - curves[context, knot]) >> shift


def straight_curves(contexts: int) -> Curves:
    """Curves that change nothing yet."""
    knots = [squash((i - KNOTS // 2) * GAP) for i in range(KNOTS)]
    return np.tile(np.array(knots, dtype=np.int32), (contexts, 1))
