"""Power laws: how a loss falls with parameters, data or compute, and whether it is a power at all.

Source: Hestness et al. 2017, arXiv:1712.00409, section 2 (loss = floor + scale x^-exponent, the
floor being what no amount of x can remove); Hoffmann et al. 2022, arXiv:2203.15556, section 3.3
(Huber's loss of the logarithm); Clauset et al. 2009, arXiv:0706.1062, section 5 (a power law is
believed only next to its rivals).
Differs from the papers: Clauset et al. compare distributions by their likelihood; here curves are
compared by the error of an extrapolation, which is what a scaling law is for.

Each form is a sum of exponentials of linear functions of its parameters, with x centred, so that
one fitting routine serves all of them and a short list of starts suffices.
"""

from dataclasses import astuple, dataclass
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Float

from orrery.catalog import System
from orrery.nn.curve_fit import Curve, Parameters, bayesian_bootstrap, fit_curve, log_sum

SYSTEM = System(
    stem="power_law", area="scaling", title="Power-law fits", year=2009,
    papers=("arXiv:1712.00409", "arXiv:0706.1062"), builds_on=(), realises=("power-law-fit",),
)  # fmt: skip

Scale = Float[np.ndarray, " n"]  # parameters, tokens or operations: above zero
Loss = Float[np.ndarray, " n"]  # nats a token: above zero
Weights = Float[np.ndarray, "b n"]

Form = Literal["power", "exponential", "logarithm"]
FORMS: tuple[Form, ...] = ("power", "exponential", "logarithm")


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLaw:
    """loss = floor + scale x^-exponent."""

    scale: float
    exponent: float
    floor: float = 0.0

    def __call__(self, x: Scale) -> Loss:
        """The loss at x."""
        return self.floor + self.scale * x**-self.exponent

    def gain_of_doubling(self, x: Scale) -> Loss:
        """By how much the loss falls from x to 2 x: less and less, since exponent > 0."""
        return self.scale * x**-self.exponent * (1 - 2**-self.exponent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exponential:
    """loss = floor + scale exp(-rate x)."""

    scale: float
    rate: float
    floor: float

    def __call__(self, x: Scale) -> Loss:
        """The loss at x."""
        return self.floor + self.scale * np.exp(-self.rate * x)


@dataclass(frozen=True, kw_only=True, slots=True)
class Logarithm:
    """loss = scale - rate log x: it passes zero if x goes on growing."""

    scale: float
    rate: float

    def __call__(self, x: Scale) -> Loss:
        """The loss at x."""
        return self.scale - self.rate * np.log(x)


def fit_power_law(x: Scale, loss: Loss, *, floor: bool = True) -> PowerLaw:
    """The power law nearest to the data in Huber's loss of the logarithm.

    Args:
        x: at least two different values, three with a floor.
        loss: at x.
        floor: whether there is a loss that no x removes; without, it is a line in logarithms.

    Raises:
        ValueError: lengths differ, a value is not above zero, or too few x are different.
    """
    _check(x, loss, distinct=2 + floor)
    curve, starts = _power(x, loss, floor)
    return PowerLaw(**_power_law(fit_curve(curve, loss, starts).best(), x))


def bootstrap_power_law(
    x: Scale, loss: Loss, resamples: int, rng: np.random.Generator, *, floor: bool = True
) -> Float[np.ndarray, "b 3"]:
    """Scale, exponent and floor of the fit to each resample of the points.

    Raises:
        ValueError: as `fit_power_law`.
    """
    _check(x, loss, distinct=2 + floor)
    curve, starts = _power(x, loss, floor)
    best = fit_curve(curve, loss, starts).best()
    weights = bayesian_bootstrap(len(x), resamples, rng)
    fit = fit_curve(curve, loss, np.repeat(best[None], resamples, axis=0), weights=weights)
    laws = (PowerLaw(**_power_law(row, x)) for row in fit.parameters)
    return np.array([astuple(law) for law in laws])


def fit_form(form: Form, x: Scale, loss: Loss) -> PowerLaw | Exponential | Logarithm:
    """The curve of this form that is nearest to the data.

    Raises:
        ValueError: as `fit_power_law`, or an unknown form.
    """
    if form == "power":
        return fit_power_law(x, loss)
    _check(x, loss, distinct=3)
    level = np.log(loss.mean())
    if form == "exponential":
        unit = x / x.max()
        curve = log_sum(_features(unit, 3))
        starts = level + np.log([[1, 0.1], [0.7, 0.5], [0.3, 1]])
        grid = np.array([(*s, rate) for s, rate in product(starts, (0.5, 3.0, 20.0))])
        floor, scale, rate = fit_curve(curve, loss, grid).best()
        return Exponential(scale=np.exp(scale), rate=rate / x.max(), floor=np.exp(floor))
    if form == "logarithm":
        # loss = e^p + e^q log(max x / x): both parts are above zero where there are data
        with np.errstate(divide="ignore"):
            offsets = np.stack([np.zeros(len(x)), np.log(np.log(x.max() / x))])
        features = np.stack([np.tile(row, (len(x), 1)) for row in np.eye(2)])
        grid = level + np.log([[1, 0.01], [0.9, 0.1], [0.5, 0.3]])
        last, rate = np.exp(fit_curve(log_sum(features, offsets), loss, grid).best())
        return Logarithm(scale=last + rate * np.log(x.max()), rate=rate)
    raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")


def extrapolation_error(form: Form, x: Scale, loss: Loss, hold: int) -> float:
    """Root mean square of log(predicted / measured) at the `hold` largest x, which are left out.

    A prediction at or below zero counts as a hundredth of the measured loss.

    Raises:
        ValueError: hold is not between 1 and what leaves three points, or as `fit_power_law`.
    """
    if not 1 <= hold <= len(x) - 3:
        raise ValueError(f"hold must be from 1 to {len(x) - 3}, got {hold}")
    order = np.argsort(x, kind="stable")
    seen, held = order[:-hold], order[-hold:]
    ratio = fit_form(form, x[seen], loss[seen])(x[held]) / loss[held]
    return float(np.sqrt(np.mean(np.log(ratio.clip(min=0.01)) ** 2)))


def _power(x: Scale, loss: Loss, floor: bool) -> tuple[Curve, Parameters]:
    """log(e^f + e^s (x/centre)^-exponent), and where to start."""
    centred = np.log(x) - np.log(x).mean()
    level = np.log(loss.mean())
    slopes = (0.05, 0.2, 0.5, 1.0)
    if not floor:
        starts = [(level, slope) for slope in slopes]
        return log_sum(_features(centred, 2)), np.array(starts)
    parts = level + np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    return log_sum(_features(centred, 3)), np.array(
        [(*part, slope) for part, slope in product(parts, slopes)]
    )


def _features(x: Scale, parameters: int) -> Float[np.ndarray, "k n p"]:
    """Of e^s exp(-rate x), and of e^f before it where there are three parameters."""
    one, zero = np.ones_like(x), np.zeros_like(x)
    falling = np.stack([one, -x], axis=1)
    if parameters == 2:
        return falling[None]
    still = np.stack([one, zero, zero], axis=1)
    return np.stack([still, np.concatenate([zero[:, None], falling], axis=1)])


def _power_law(fitted: Float[np.ndarray, " p"], x: Scale) -> dict[str, float]:
    scale, exponent = fitted[-2:]
    floor = float(np.exp(fitted[0])) if len(fitted) == 3 else 0.0
    full = float(np.exp(scale + exponent * np.log(x).mean()))
    return {"scale": full, "exponent": float(exponent), "floor": floor}


def _check(x: Scale, loss: Loss, *, distinct: int) -> None:
    if len(x) != len(loss):
        raise ValueError(f"x and loss must have one length, got {len(x)} and {len(loss)}")
    if len(np.unique(x)) < distinct:
        raise ValueError(f"x must have at least {distinct} different values, got {x}")
    for name, values in (("x", x), ("loss", loss)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"{name} must be finite and above 0, got {values}")
