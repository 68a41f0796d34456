"""Fits of one curve to positive data, robustly, from many starts and to many resamples at once.

Source: Hoffmann et al. 2022, arXiv:2203.15556, section 3.3: Huber's loss of the residual of the
logarithm, minimised by a quasi-Newton method from a grid of starts; Huber 1964; Nocedal and
Wright 2006, "Numerical Optimization", algorithm 6.1; Rubin 1981, "The Bayesian bootstrap".
Differs from the papers: the inverse Hessian is kept whole (BFGS), because a curve has five
parameters and the memory that L-BFGS saves is twenty-five numbers; the loss is divided by delta,
so that a tolerance does not depend on it.

Every start, or resample, is a row of one array: a round costs one evaluation of the curve for
all rows that have not arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

Parameters = Float[np.ndarray, "b p"]  # one row a start or resample
Values = Float[np.ndarray, "b n"]  # one column a data point
Curve = Callable[[Parameters], tuple[Values, Callable[[Values], Parameters]]]
"""log y at the data points, and what turns a gradient by log y into one by the parameters."""

SUFFICIENT = 1e-4  # share of the predicted decrease that a step has to reach
TOLERANCE = 1e-9  # of a step and of a decrease, relative
SMALLEST = 1e-13  # decrease that still counts: the objective is a mean of log residuals


@dataclass(frozen=True, slots=True)
class Fit:
    """Where each row arrived, and how good that is."""

    parameters: Parameters
    objective: Float[np.ndarray, " b"]

    def best(self) -> Float[np.ndarray, " p"]:
        """The parameters of the lowest objective."""
        return self.parameters[self.objective.argmin()]


def fit_curve(
    curve: Curve,
    y: Float[np.ndarray, "*b n"],
    starts: Parameters,
    *,
    weights: Values | None = None,
    delta: float = 1e-3,
    keep: int | None = None,
    rounds: int = 500,
) -> Fit:
    """Minimise the mean of Huber(log y - curve) / delta from every start.

    Args:
        curve: what is fitted.
        y: data, above zero; one row for all starts or a row for each (not with `keep`).
        starts: one row a fit.
        weights: of every point in every fit (a row a start); None weighs all points alike.
        delta: residuals below it count as squares, above it by their size.
        keep: follow only so many starts, those where the objective is smallest.
        rounds: at most so many evaluations of the curve.
    """
    shape = (len(starts), y.shape[-1])
    log_y = np.broadcast_to(np.log(y), shape)
    share = np.ones((1, shape[1])) if weights is None else weights
    share = np.broadcast_to(share / share.sum(axis=1, keepdims=True), shape)

    def objective(x: Parameters, rows: np.ndarray) -> tuple[np.ndarray, Parameters]:
        values, pull = curve(x)
        residual = values - log_y[rows]
        bounded = residual.clip(-delta, delta)  # Huber's influence function
        huber = bounded * (residual - 0.5 * bounded)  # = r^2 / 2 inside, delta (|r| - delta/2) out
        w = share[rows]
        return (w * huber).sum(axis=1) / delta, pull(w * bounded / delta)

    if keep is not None and keep < len(starts):
        first, _ = objective(starts, np.arange(len(starts)))
        starts = starts[np.argsort(first, kind="stable")[:keep]]
    return _bfgs(objective, starts, rounds)


def _bfgs(
    function: Callable[[Parameters, np.ndarray], tuple[np.ndarray, Parameters]],
    starts: Parameters,
    rounds: int,
) -> Fit:
    """Minimise from every start; `function` gives values and gradients of the rows it is asked."""
    rows = np.arange(len(starts))
    x = np.array(starts, dtype=np.float64)
    f, g = function(x, rows)
    arrived, reached = x.copy(), f.copy()
    identity = np.eye(x.shape[1])
    inverse = identity / np.maximum(1.0, np.linalg.norm(g, axis=1))[:, None, None]
    fresh = np.ones(len(x), dtype=bool)  # rows whose inverse Hessian has seen no curvature yet
    direction, length = _descent(inverse, g), np.ones(len(x))
    for _ in range(rounds):
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
        back = np.flatnonzero(~good)  # the minimum of the parabola through f, slope and f_new
        with np.errstate(invalid="ignore", divide="ignore"):
            parabola = -0.5 * slope[back] / (f_new[back] - f[back] - slope[back])
        length[back] *= np.nan_to_num(parabola, nan=0.1).clip(0.1, 0.5)

        arrived[rows], reached[rows] = x, f
        if done.any():
            keep = ~done
            rows, x, f, g, inverse, fresh, direction, length = (
                a[keep] for a in (rows, x, f, g, inverse, fresh, direction, length)
            )
            if not len(rows):
                break
    return Fit(arrived, reached)


def _descent(inverse: np.ndarray, g: Parameters) -> Parameters:
    return -np.einsum("bpq,bq->bp", inverse, g)


def _update(
    inverse: np.ndarray, fresh: np.ndarray, moved: np.ndarray, s: Parameters, y: Parameters
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


def log_sum(
    features: Float[np.ndarray, "k n p"], offsets: Float[np.ndarray, "k n"] | None = None
) -> Curve:
    """The curve sum over k of exp(features_k . parameters + offsets_k): a sum of powers."""
    k, n, p = features.shape
    flat = features.reshape(k * n, p)
    added = np.zeros((k, n)) if offsets is None else offsets

    def curve(parameters: Parameters) -> tuple[Values, Callable[[Values], Parameters]]:
        terms = (parameters @ flat.T).reshape(len(parameters), k, n) + added
        top = terms.max(axis=1)
        parts = np.exp(terms - top[:, None])
        total = parts.sum(axis=1)

        return top + np.log(total), partial(_pull, flat, parts / total[:, None])

    return curve


def _pull(
    features: Float[np.ndarray, "kn p"], shares: Float[np.ndarray, "b k n"], gradient: Values
) -> Parameters:
    return (gradient[:, None] * shares).reshape(len(gradient), len(features)) @ features


def bayesian_bootstrap(
    count: int, resamples: int, rng: np.random.Generator, *, concentration: float = 0.5
) -> Float[np.ndarray, "b n"]:
    """Weights of `count` things in each resample: Dirichlet, so that none is ever left out.

    Args:
        count: of things that are independent of each other.
        resamples: of them.
        rng: the source of chance.
        concentration: 1 is Rubin's, whose intervals are too short where the things are few and
            a fit of several parameters leans on each; a half makes up for that at about eight.
    """
    return rng.dirichlet(np.full(count, concentration), resamples)
