"""Chinchilla's scaling law: how to share compute between parameters and data, in three ways.

Source: Hoffmann et al. 2022, arXiv:2203.15556: section 3.1 (the envelope of training curves), 3.2
(IsoFLOP profiles), 3.3 (a parametric loss; equations 2 to 4), table 2 (the exponents). The re-fit
of the third is Besiroglu et al. 2024, arXiv:2404.10102. Intervals: Rubin 1981, "The Bayesian
bootstrap".
Differs from the papers: a resample weighs sizes instead of drawing runs, because the points of
one training curve are not independent; envelope and profiles keep to budgets at which sizes on
both sides of the best one were trained; starts are a grid around the centre of the runs.

Symbols: L(N, D) = E + A N^-alpha + B D^-beta; C = 6 N D; N_opt ~ C^a and D_opt ~ C^b, a + b = 1.
On the line C = 6 N D the loss is smallest where alpha A N^-alpha = beta B D^-beta (Lagrange), so
N_opt = G (C / 6)^a, D_opt = (C / 6)^b / G, a = beta / (alpha + beta),
G = (alpha A / (beta B))^(1 / (alpha + beta)).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from orrery.catalog import System
from orrery.nn.curve_fit import Curve, fit_curve, log_sum
from orrery.systems.scaling.kaplan import Budgets, Points, Runs

SYSTEM = System(
    stem="chinchilla", area="scaling", title="Chinchilla scaling law", year=2022,
    papers=("arXiv:2203.15556", "arXiv:2404.10102"), builds_on=("kaplan",),
    realises=("chinchilla",),
)  # fmt: skip

Weights = Float[np.ndarray, "b s"]  # of every size in every resample
Resamples = Float[np.ndarray, " b"]

PARTS, EXPONENTS = (0.03, 0.3, 0.9), (0.2, 0.5, 1.0)  # starts: shares of the mean loss, slopes
LEAST = 0.01  # exponent: what needs a doubling for less than a hundredth does not scale
KEPT = 20  # starts that are followed to the end
NEIGHBOURS = 2  # sizes on each side of the best one that a parabola is fitted to


@dataclass(frozen=True, kw_only=True, slots=True)
class ChinchillaLaw:
    """The parametric loss and its compute-optimal frontier; every constant is above zero."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("floor", "a", "alpha", "b", "beta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    @classmethod
    def hoffmann(cls) -> "ChinchillaLaw":
        """Equation 10 of Hoffmann et al., the exponents before they were rounded."""
        return cls(floor=1.6934, a=406.4, alpha=0.3392, b=410.7, beta=0.2849)

    @classmethod
    def besiroglu(cls) -> "ChinchillaLaw":
        """The re-fit of Besiroglu et al. to the runs in a figure of Hoffmann et al."""
        return cls(floor=1.8172, a=482.01, alpha=0.3478, b=2085.43, beta=0.3658)

    def loss(self, parameters: Points, tokens: Points) -> Points:
        """L(N, D)."""
        return self.floor + self.a * parameters**-self.alpha + self.b * tokens**-self.beta

    @property
    def parameter_exponent(self) -> float:
        """The a of N_opt ~ C^a."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, compute: Budgets) -> tuple[Budgets, Budgets]:
        """N and D of the smallest loss that 6 N D = C allows."""
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        parameters = g * (compute / 6) ** self.parameter_exponent
        return parameters, compute / 6 / parameters

    def tokens_per_parameter(self, compute: Budgets) -> Budgets:
        """D_opt / N_opt: it drifts as C^((alpha - beta) / (alpha + beta))."""
        parameters, tokens = self.optimum(compute)
        return tokens / parameters


@dataclass(frozen=True, slots=True)
class Allocation:
    """N_opt = scale C^exponent, in each resample."""

    exponent: Resamples
    log_scale: Resamples

    def parameters(self, compute: Budgets) -> Float[np.ndarray, "b c"]:
        """N_opt at each budget."""
        return np.exp(self.log_scale[:, None] + self.exponent[:, None] * np.log(compute))


def envelope(
    runs: Runs, weights: Weights | None = None, *, edges: bool = False, budgets: int = 200
) -> Allocation:
    """Approach 1: at each compute, the size whose training curve is lowest there; then a line.

    Args:
        runs: training curves of several sizes.
        weights: of sizes, for resamples; None: one fit in which all count alike.
        edges: let a budget count whose best size is the smallest or largest that was trained.
        budgets: how many, evenly spaced in logarithms.

    Raises:
        ValueError: fewer than two budgets count.
    """
    grid = np.geomspace(runs.compute.min(), runs.compute.max(), budgets)
    best, kept = _best_sizes(runs.at_budgets(grid), edges)
    share = _or_even(weights, len(runs.sizes))[:, best]
    targets = np.broadcast_to(np.log(runs.sizes[best]), share.shape)
    return _line(np.log(grid[kept]), targets, share)


def isoflop(
    runs: Runs, budgets: Budgets, weights: Weights | None = None, *, edges: bool = False
) -> Allocation:
    """Approach 2: at each compute, the lowest point of a parabola in log N; then a line.

    Args:
        runs: training curves of several sizes.
        budgets: of compute.
        weights: of sizes, for resamples; None: one fit in which all count alike.
        edges: let a budget count whose best size is the smallest or largest that was trained.

    Raises:
        ValueError: fewer than two budgets count.
    """
    table = runs.at_budgets(budgets)
    _, kept = _best_sizes(table, edges)
    share = _or_even(weights, len(runs.sizes))
    lowest = [vertex(runs.sizes, table[:, c], share) for c in kept]
    return _line(np.log(budgets[kept]), np.stack(lowest, axis=1), np.ones((len(share), len(kept))))


def vertex(
    sizes: Float[np.ndarray, " s"], loss: Float[np.ndarray, " s"], weights: Weights
) -> Resamples:
    """Where log N is at the lowest point of a parabola through the losses around the smallest one.

    A parabola that opens downwards has none: the best size stands in for it.
    """
    best = int(np.nanargmin(loss))
    near = np.arange(max(0, best - NEIGHBOURS), min(len(sizes), best + NEIGHBOURS + 1))
    near = near[np.isfinite(loss[near])]
    x = np.log(sizes[near] / sizes[best])
    powers = x[:, None] ** np.arange(3)
    root = np.sqrt(weights[:, near] / weights[:, near].sum(axis=1, keepdims=True))
    # the pseudo-inverse, because a resample may leave less than three sizes any weight
    inverse = np.linalg.pinv(root[:, :, None] * powers, rcond=1e-6)
    _, slope, bend = np.einsum("bps,bs->pb", inverse, root * loss[near])
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = np.where(bend > 0, -0.5 * slope / bend, 0.0)
    return np.log(sizes[best]) + lowest.clip(x[0], x[-1])


def parametric(runs: Runs, *, delta: float = 1e-3) -> ChinchillaLaw:
    """Approach 3: the law nearest to all runs.

    Args:
        runs: of at least two sizes and two token counts.
        delta: residuals of the logarithm below it count as squares, above it by their size.

    Raises:
        ValueError: fewer than two sizes or two token counts.
    """
    floor, a, alpha, b, beta = _parametric(runs, None, delta)[0]
    return ChinchillaLaw(
        floor=float(np.exp(floor)), a=float(np.exp(a)), alpha=float(alpha),
        b=float(np.exp(b)), beta=float(beta),
    )  # fmt: skip


def frontier(runs: Runs, weights: Weights | None = None, *, delta: float = 1e-3) -> Allocation:
    """Approach 3's frontier in closed form, in each resample.

    Raises:
        ValueError: fewer than two sizes or two token counts.
    """
    _, a, alpha, b, beta = _parametric(runs, weights, delta).T
    exponent = beta / (alpha + beta)
    log_g = (np.log(alpha / beta) + a - b) / (alpha + beta)
    return Allocation(exponent, log_g - exponent * np.log(6))


def three_approaches(
    runs: Runs, budgets: Budgets, weights: Weights | None = None, *, edges: bool = False
) -> dict[str, Allocation]:
    """Each approach's allocation; with weights, on the same resamples of the sizes.

    Raises:
        ValueError: as the approaches.
    """
    return {
        "envelope": envelope(runs, weights, edges=edges),
        "isoflop": isoflop(runs, budgets, weights, edges=edges),
        "parametric": frontier(runs, weights),
    }


def _parametric(runs: Runs, weights: Weights | None, delta: float) -> Float[np.ndarray, "b 5"]:
    """Of each resample, or of all runs alike: log E, log A, alpha, log B, beta.

    An exponent below the least (the loss hardly falls, or rises) is set to it.
    """
    if len(runs.sizes) < 2 or len(np.unique(runs.tokens)) < 2:
        raise ValueError("the parametric law needs at least two sizes and two token counts")
    curve = _curve(runs)
    grid = product(*(np.log(PARTS), np.log(PARTS), EXPONENTS, np.log(PARTS), EXPONENTS))
    level = np.log(runs.loss.mean())
    starts = np.array(list(grid)) + level * np.array([1, 1, 0, 1, 0])
    best = fit_curve(curve, runs.loss, starts, delta=delta, keep=KEPT).best()[None]
    if weights is not None:
        share = weights[:, np.searchsorted(runs.sizes, runs.parameters)]
        best = fit_curve(
            curve, runs.loss, np.repeat(best, len(weights), axis=0), weights=share, delta=delta
        ).parameters
    fitted = best.copy()
    fitted[:, [2, 4]] = fitted[:, [2, 4]].clip(min=LEAST)
    n, d = _centre(runs)
    fitted[:, 1] += fitted[:, 2] * n  # from the centre of the runs to N = D = 1
    fitted[:, 3] += fitted[:, 4] * d
    return fitted


def _centre(runs: Runs) -> tuple[float, float]:
    return float(np.log(runs.parameters).mean()), float(np.log(runs.tokens).mean())


def _curve(runs: Runs) -> Curve:
    """The law of log E, log A, alpha, log B, beta; A and B at the centre of the runs."""
    n, d = _centre(runs)
    one, zero = np.ones(len(runs.loss)), np.zeros(len(runs.loss))
    capacity, data = n - np.log(runs.parameters), d - np.log(runs.tokens)
    return log_sum(np.stack([
        np.stack([one, zero, zero, zero, zero], axis=1),
        np.stack([zero, one, capacity, zero, zero], axis=1),
        np.stack([zero, zero, zero, one, data], axis=1),
    ]))  # fmt: skip


def _best_sizes(
    table: Float[np.ndarray, "s c"], edges: bool
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The best size at each budget that counts, and which budgets those are."""
    trained = np.isfinite(table)
    best = np.where(trained, table, np.inf).argmin(axis=0)
    sizes = np.arange(len(table))[:, None]
    below, above = (trained & (sizes < best)).any(axis=0), (trained & (sizes > best)).any(axis=0)
    kept = np.flatnonzero(trained.any(axis=0) & (edges | (below & above)))
    if len(kept) < 2:
        raise ValueError(f"two budgets must have a best size between others, {len(kept)} have")
    return best[kept], kept


def _or_even(weights: Weights | None, sizes: int) -> Weights:
    return np.full((1, sizes), 1 / sizes) if weights is None else weights


def _line(
    log_compute: Float[np.ndarray, " c"],
    log_n: Float[np.ndarray, "b c"],
    weights: Float[np.ndarray, "b c"],
) -> Allocation:
    """Weighted least squares of log N_opt by log C, in each resample."""
    share = weights / weights.sum(axis=1, keepdims=True)
    mean_c, mean_n = share @ log_compute, (share * log_n).sum(axis=1)
    c, n = log_compute - mean_c[:, None], log_n - mean_n[:, None]
    exponent = (share * c * n).sum(axis=1) / (share * c * c).sum(axis=1)
    return Allocation(exponent, mean_n - exponent * mean_c)
