"""Kaplan's scaling laws: the loss is a power of parameters, of data and of compute.

Source: Kaplan et al. 2020, arXiv:2001.08361: equations 1.1 to 1.3 (one quantity at a time), 1.5
(parameters and data together), 4.3 and 4.4 (over-fitting, and the data that avoid it), appendix
A (compute). The published constants are those of table 2.
Differs from the paper: Huber's loss of the logarithm in place of least squares; the "loss at
convergence" of a size is its loss after a stated number of tokens.

Symbols: N parameters without embeddings, D tokens, L loss in nats a token, C = 6 N D.
L(N, D) = [ (N_c / N)^(alpha_N / alpha_D) + D_c / D ]^alpha_D, so that L(N, inf) and L(inf, D) are
plain powers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from orrery.catalog import System
from orrery.nn.curve_fit import Curve, Parameters, Values, fit_curve
from orrery.systems.scaling.power_law import PowerLaw, fit_power_law

SYSTEM = System(
    stem="kaplan", area="scaling", title="Kaplan scaling laws", year=2020,
    papers=("arXiv:2001.08361",), builds_on=("power_law",), realises=("kaplan-scaling",),
)  # fmt: skip

Points = Float[np.ndarray, " n"]  # one number a training run
Budgets = Float[np.ndarray, " c"]  # operations
BOUNDS = (-5.0, 3.0)  # of the logarithm of an exponent: 0.007 means that nothing scales


@dataclass(frozen=True, slots=True)
class Runs:
    """What training runs of several sizes reached; a size's runs may be points of one curve."""

    parameters: Points
    tokens: Points
    loss: Points

    def __post_init__(self) -> None:
        if not len(self.parameters) == len(self.tokens) == len(self.loss) > 0:
            raise ValueError(
                "parameters, tokens and loss must have one length above 0, got "
                f"{len(self.parameters)}, {len(self.tokens)} and {len(self.loss)}"
            )
        for name in ("parameters", "tokens", "loss"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ValueError(f"{name} must be finite and above 0, got {values}")

    @property
    def compute(self) -> Points:
        """C = 6 N D."""
        return 6 * self.parameters * self.tokens

    @property
    def sizes(self) -> Float[np.ndarray, " s"]:
        """The different N, rising."""
        return np.unique(self.parameters)

    def where(self, kept: Bool[np.ndarray, " n"]) -> "Runs":
        """The runs that are kept."""
        return Runs(self.parameters[kept], self.tokens[kept], self.loss[kept])

    def at_budgets(self, budgets: Budgets) -> Float[np.ndarray, "s c"]:
        """Each size's loss at each compute, between its runs in logarithms; NaN outside them.

        A hundredth beyond the outermost runs is not outside: batches make tokens come in lumps.
        """
        rows, wanted = [], np.log(budgets)
        for size in self.sizes:
            curve = self.where(self.parameters == size)
            order = np.argsort(curve.tokens)
            known, loss = np.log(curve.compute[order]), np.log(curve.loss[order])
            outside = (wanted < known[0] - 0.01) | (wanted > known[-1] + 0.01)
            rows.append(np.where(outside, np.nan, np.exp(np.interp(wanted, known, loss))))
        return np.stack(rows)

    def frontier(self) -> "Runs":
        """The runs that are better than every run of less or as much compute."""
        order = np.lexsort((self.loss, self.compute))
        best = np.minimum.accumulate(self.loss[order])
        first = np.r_[True, self.loss[order][1:] < best[:-1]]
        return self.where(np.isin(np.arange(len(order)), order[first]))


@dataclass(frozen=True, kw_only=True, slots=True)
class KaplanLaw:
    """The joint law and what follows from it."""

    n_c: float
    alpha_n: float
    d_c: float
    alpha_d: float

    @classmethod
    def published(cls) -> "KaplanLaw":
        """Table 2 of the paper: WebText2, a vocabulary of 50,257, a context of 1,024."""
        return cls(n_c=6.4e13, alpha_n=0.076, d_c=1.8e13, alpha_d=0.103)

    def loss(self, parameters: Points, tokens: Points) -> Points:
        """Equation 1.5."""
        capacity = (self.n_c / parameters) ** (self.alpha_n / self.alpha_d)
        return (capacity + self.d_c / tokens) ** self.alpha_d

    def of_parameters(self) -> PowerLaw:
        """L(N) with data without end."""
        return PowerLaw(scale=self.n_c**self.alpha_n, exponent=self.alpha_n)

    def of_data(self) -> PowerLaw:
        """L(D) of a model without end."""
        return PowerLaw(scale=self.d_c**self.alpha_d, exponent=self.alpha_d)

    def overfitting(self, parameters: Points, tokens: Points) -> Points:
        """L(N, D) / L(N, inf) - 1: what the finite data cost (equation 4.3)."""
        return self.loss(parameters, tokens) / self.of_parameters()(parameters) - 1

    def tokens_needed(self, parameters: Points, overfitting: float) -> Points:
        """The data at which over-fitting falls to this: they grow as N^(alpha_N / alpha_D).

        Raises:
            ValueError: overfitting is not above 0.
        """
        if not overfitting > 0:
            raise ValueError(f"overfitting must be above 0, got {overfitting}")
        capacity = (self.n_c / parameters) ** (self.alpha_n / self.alpha_d)
        return self.d_c / capacity / ((1 + overfitting) ** (1 / self.alpha_d) - 1)


def fit_kaplan(runs: Runs, *, delta: float = 1e-3) -> KaplanLaw:
    """The joint law nearest to the runs in Huber's loss of the logarithm.

    Raises:
        ValueError: fewer than two sizes or two token counts.
    """
    if len(runs.sizes) < 2 or len(np.unique(runs.tokens)) < 2:
        raise ValueError("the joint law needs at least two sizes and two token counts")
    x, z = np.log(runs.parameters), np.log(runs.tokens)
    level = np.log(runs.loss.mean())
    starts = [
        (level + np.log(part), np.log(a), level + np.log(1 - part), np.log(d))
        for part, a, d in product((0.2, 0.5, 0.8), (0.03, 0.1, 0.3), (0.03, 0.1, 0.3))
    ]
    curve = _joint(x - x.mean(), z - z.mean())
    p, log_a, q, log_d = fit_curve(curve, runs.loss, np.array(starts), delta=delta).best()
    alpha_n, alpha_d = (float(np.exp(np.clip(log, *BOUNDS))) for log in (log_a, log_d))
    return KaplanLaw(
        n_c=float(np.exp(p / alpha_n + x.mean())), alpha_n=alpha_n,
        d_c=float(np.exp(q / alpha_d + z.mean())), alpha_d=alpha_d,
    )  # fmt: skip


def _joint(x: Points, z: Points) -> Curve:
    """The curve log L of (p, log a, q, log d): d log( e^((p - a x) / d) + e^(q / d - z) ).

    p and q are the logarithms of L(N, inf) and L(inf, D) at the centre of the runs.
    """

    def curve(parameters: Parameters) -> tuple[Values, Callable[[Values], Parameters]]:
        p, log_a, q, log_d = parameters.T[:, :, None]
        a, d = np.exp(log_a.clip(*BOUNDS)), np.exp(log_d.clip(*BOUNDS))
        u, v = (p - a * x) / d, q / d - z
        both = np.logaddexp(u, v)
        share = np.exp(u - both)
        by_d = both - share * u - (1 - share) * (v + z)
        slopes = np.stack([share, -share * a * x, 1 - share, d * by_d])
        return d * both, partial(_pull, slopes)

    return curve


def _pull(slopes: Float[np.ndarray, "p b n"], gradient: Values) -> Parameters:
    return (gradient * slopes).sum(axis=2).T


def law_of_parameters(runs: Runs, tokens: float) -> PowerLaw:
    """L(N) of the sizes that were trained on at least so many tokens, at that many.

    Raises:
        ValueError: fewer than two sizes were.
    """
    loss = np.diagonal(runs.at_budgets(6 * runs.sizes * tokens))
    reached = np.isfinite(loss)
    return fit_power_law(runs.sizes[reached], loss[reached], floor=False)


def law_of_data(runs: Runs) -> PowerLaw:
    """L(D) of the largest size, which is limited by its data.

    Raises:
        ValueError: it has fewer than two runs.
    """
    largest = runs.where(runs.parameters == runs.sizes[-1])
    return fit_power_law(largest.tokens, largest.loss, floor=False)


def law_of_compute(runs: Runs) -> PowerLaw:
    """L(C) of the runs that are better than every run of less or as much compute.

    Raises:
        ValueError: there are fewer than two.
    """
    frontier = runs.frontier()
    return fit_power_law(frontier.compute, frontier.loss, floor=False)
