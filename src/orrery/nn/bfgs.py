"""Many small minimisations at once: BFGS, every start a row of one array.

Source: Nocedal and Wright 2006, "Numerical Optimization", algorithm 6.1 and equation 6.20 (the
first scale); Armijo's condition alone ends a line search (their equation 3.4).
Differs from the source: an update without positive curvature is left out, where they search on
until the curvature is positive.

A round costs one evaluation of the function for all rows that have not arrived: a row whose step
was too long shortens it in the next round, while the others move on.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "b p"]  # one row a start
Values = Float[np.ndarray, " b"]
Rows = Int[np.ndarray, " b"]
Function = Callable[[Points, Rows], tuple[Values, Points]]
"""Values and gradients at points, which are those of the given rows."""

SUFFICIENT = 1e-4  # share of the predicted decrease that a step has to reach
TOLERANCE = 1e-9  # of a step and of a decrease, relative
SMALLEST = 1e-13  # decrease that still counts


def minimise(function: Function, starts: Points, rounds: int) -> tuple[Points, Values]:
    """Where each start arrives, and the values there, after at most so many rounds."""
    rows = np.arange(len(starts))
    x = np.array(starts, dtype=np.float64)
    f, g = function(x, rows)
    arrived, reached = x.copy(), f.copy()
    inverse = np.eye(x.shape[1]) / np.maximum(1.0, np.linalg.norm(g, axis=1))[:, None, None]
    fresh = np.ones(len(x), dtype=bool)  # rows whose inverse Hessian has seen no curvature yet
    direction, length = _descent(inverse, g), np.ones(len(x))
    for _ in range(rounds):
        if not len(rows):
            break
        step = length[:, None] * direction
        slope = (g * step).sum(axis=1)
        f_new, g_new = function(x + step, rows)
        with np.errstate(invalid="ignore"):  # a step too far may give infinity less infinity
            good = f_new <= f + SUFFICIENT * slope
            change = np.where(good, f - f_new, np.inf)
        done = good & (change <= TOLERANCE * f + SMALLEST)
        done |= ~good & (np.abs(step).max(axis=1) <= TOLERANCE * (1 + np.abs(x).max(axis=1)))
        moved = np.flatnonzero(good)
        s, y = step[moved], g_new[moved] - g[moved]
        _update(inverse, fresh, moved, s, y)
        x[moved], f[moved], g[moved] = x[moved] + s, f_new[moved], g_new[moved]
        direction[moved], length[moved] = _descent(inverse[moved], g[moved]), 1.0
        back = np.flatnonzero(~good)
        length[back] *= _shorter(f[back], slope[back], f_new[back])
        arrived[rows], reached[rows] = x, f
        if done.any():
            keep = ~done
            rows, x, f, g, inverse, fresh, direction, length = (
                a[keep] for a in (rows, x, f, g, inverse, fresh, direction, length)
            )
    return arrived, reached


def _descent(inverse: np.ndarray, g: Points) -> Points:
    return -np.einsum("bpq,bq->bp", inverse, g)


def _shorter(f: Values, slope: Values, f_new: Values) -> Values:
    """Share of the step at which the parabola through f, slope and f_new is lowest; bounded."""
    with np.errstate(invalid="ignore", divide="ignore"):
        lowest = -0.5 * slope / (f_new - f - slope)
    return np.nan_to_num(lowest, nan=0.1).clip(0.1, 0.5)


def _update(
    inverse: np.ndarray, fresh: np.ndarray, moved: np.ndarray, s: Points, y: Points
) -> None:
    """The BFGS update of the inverse Hessians of the rows `moved`, where curvature is positive."""
    sy = (s * y).sum(axis=1)
    yy = (y * y).sum(axis=1)
    convex = sy > 1e-10 * np.sqrt((s * s).sum(axis=1) * yy)
    moved, s, y, sy, yy = (a[convex] for a in (moved, s, y, sy, yy))
    first = fresh[moved]
    inverse[moved[first]] = np.eye(s.shape[1]) * (sy / yy)[first, None, None]
    fresh[moved] = False
    left = np.eye(s.shape[1]) - np.einsum("bp,bq->bpq", s, y) / sy[:, None, None]
    outer = np.einsum("bp,bq->bpq", s, s) / sy[:, None, None]
    inverse[moved] = left @ inverse[moved] @ left.transpose(0, 2, 1) + outer
