"""Fits of one curve to positive data, robustly, from many starts and to many resamples at once.

Source: Hoffmann et al. 2022, arXiv:2203.15556, section 3.3: Huber's loss of the residual of the
logarithm, minimised by a quasi-Newton method from a grid of starts; Huber 1964, "Robust
Estimation of a Location Parameter"; Rubin 1981, "The Bayesian bootstrap".
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

from orrery.nn.bfgs import minimise

Parameters = Float[np.ndarray, "b p"]  # one row a start or resample
Values = Float[np.ndarray, "b n"]  # one column a data point
Curve = Callable[[Parameters], tuple[Values, Callable[[Values], Parameters]]]
"""log y at the data points, and what turns a gradient by log y into one by the parameters."""


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
    return Fit(*minimise(objective, starts, rounds))


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
