"""Do deep nets need exponentially fewer units than shallow ones?

The task is the sawtooth with 2^k straight pieces, k folds of the tent. A net is good enough when
its root mean square error is below a tenth, where a flat line has three. Two questions are asked.

What is possible: a deep net is built by hand, two units a fold. A shallow net is given as many
bends as it has units, evenly spread from 0 or from a random start, and the best weights behind them
by least squares; the smallest good enough of ever larger ones counts. This is generous: with a bend
for each corner it is exact.

What is found: nets of four layers and of one are trained from random weights, for more and more
folds, with growing widths; again the smallest good enough counts.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.optimisers import Adam
from orrery.systems.foundations.sawtooth import PiecewiseLinear, deep_sawtooth, sawtooth
from orrery.train.schedule import scale_rates, trapezoid

GOOD = 0.1  # root mean square error
LAYERS = {"deep": 4, "shallow": 1}

CLAIMS = (
    Claim(
        "depth-more-efficient",
        effect=lambda m: growth(m, "shallow/possible") - growth(m, "deep/possible"),
        margin=0.25,
        text="what a shallow net needs for a sawtooth doubles with each fold, and what a deep one "
        "needs does not: doublings a fold, over the second half of the folds",
    ),
    Finding(
        "at the most folds the shallow net needs ten times as many units",
        effect=lambda m: last(m, "shallow/possible") / last(m, "deep/possible"),
        margin=10.0,
    ),
    Finding(
        "training finds the advantage: at the most folds trained on, four layers need half the "
        "units of one, or less",
        effect=lambda m: last(m, "shallow/found") / last(m, "deep/found"),
        margin=2.0,
    ),
    Finding(
        "training finds the construction: a trained deep net is at most twice as large",
        effect=lambda m: 2 * m["deep/possible-at-last-found"] - last(m, "deep/found"),
    ),
    Control(
        "on one fold there is nothing to gain: shallow needs no more than twice as much",
        effect=lambda m: 2 - m["shallow/possible-1"] / m["deep/possible-1"],
        margin=-0.01,
    ),
    Control(
        "both kinds can be trained on one fold",
        effect=lambda m: m["limit"] - max(m["deep/found-1"], m["shallow/found-1"]),
    ),
)
ABLATIONS = ("one_layer",)
SCALES = {
    "smoke": {"folds": 2, "trained": 1, "steps": 5, "widths": (2, 4)},
    "tour": {"trained": 2, "widths": (4, 8, 16)},
    "large": {"folds": 12, "trained": 8, "steps": 20_000, "widths": (2, 4, 8, 16, 32, 64, 128)},
}


def growth(m: Measured, what: str) -> float:
    """Doublings of the units a fold, from the middle fold to the last."""
    middle = int(m["folds"]) // 2
    factor = last(m, what) / m[f"{what}-{max(middle, 1)}"]
    return math.log2(factor) / max(1, int(m["folds"]) - middle)


def last(m: Measured, what: str) -> float:
    """Units for the most folds."""
    return m[f"{what}-{int(m['trained' if what.endswith('found') else 'folds'])}"]


class DeepVsShallowSettings(Settings):
    """A smoke run has two folds."""

    folds: Annotated[int, Range(2, 14)] = 8
    """The most that nets are built for."""
    trained: Annotated[int, Range(1, 14)] = 3
    """The most that nets are trained on."""
    steps: Annotated[int, Range(1, 1_000_000)] = 800
    """Optimiser steps of each net."""
    widths: tuple[Annotated[int, Range(1, 4_096)], ...] = (2, 4, 8, 16, 32)
    """Units in each of the four layers of a deep net; a shallow one has as many altogether."""
    starts: Annotated[int, Range(1, 1_000)] = 8
    """Random starts of the bends."""
    points: Annotated[int, Range(64, 65_536)] = 2_048
    """At which the error is taken."""


def run(settings: DeepVsShallowSettings, lab: Lab) -> Measured:
    """Build, and train, for more and more folds."""
    measured: Measured = {"folds": float(settings.folds), "trained": float(settings.trained)}
    x = (torch.arange(settings.points, device=lab.device) + 0.5) / settings.points
    deepest = not lab.ablated("one_layer")
    for folds in range(1, settings.folds + 1):
        target = sawtooth(x, folds)
        shallow = lab.measure(
            f"bends-{folds}",
            lambda folds=folds, target=target: {  # type: ignore[misc]
                "units": fewest_bends(x, target, folds, settings.starts, lab.rng("bends", folds))
            },
        )["units"]
        net = deep_sawtooth(folds).to(lab.device)
        assert rms(net(x[:, None])[:, 0], target) < GOOD, "the construction is exact"
        measured[f"shallow/possible-{folds}"] = shallow
        measured[f"deep/possible-{folds}"] = float(net.units) if deepest else shallow
    measured["deep/possible-at-last-found"] = measured[f"deep/possible-{settings.trained}"]
    measured["limit"] = 2.0 * LAYERS["deep"] * settings.widths[-1]
    for kind, layers in LAYERS.items():
        for folds in range(1, settings.trained + 1):
            found = measured["limit"]  # where no net is good enough: twice the largest
            for width in settings.widths:
                units = LAYERS["deep"] * width
                widths = (units // layers,) * layers
                name = f"{kind}-{folds}-{units}"
                if train(widths, x[::8], folds, name, settings, lab) < GOOD:
                    found = min(found, units)
            measured[f"{kind}/found-{folds}"] = float(found)
    return measured


def fewest_bends(x: Tensor, target: Tensor, folds: int, starts: int, generator: Generator) -> float:
    """Units of the smallest shallow net that is good enough, its bends evenly spread.

    Sizes grow by a tenth, and all powers of two, with which it is exact in the end, are tried.
    """
    sizes = {round(1.1**i) for i in range(8 * folds)} | {2**i for i in range(folds + 1)}
    for count in sorted(sizes):
        offsets = torch.rand(starts, generator=generator, device=generator.device)
        for offset in (0.0, *offsets.tolist()):
            bends = (torch.arange(count, device=x.device) + offset) / count
            features = torch.cat([torch.ones_like(x)[:, None], (x[:, None] - bends).relu()], 1)
            solution = torch.linalg.lstsq(features.double(), target.double()[:, None]).solution
            if rms((features.double() @ solution)[:, 0], target.double()) < GOOD:
                return float(count)
    raise AssertionError("one bend for each corner is enough")


def train(
    widths: tuple[int, ...], x: Tensor, folds: int, name: str, settings: DeepVsShallowSettings,
    lab: Lab,
) -> float:  # fmt: skip
    """The error of one net that is trained on all points at once."""
    torch.manual_seed(lab.rng("weights", folds).initial_seed())
    net = PiecewiseLinear(widths).to(lab.device)
    optimiser = Adam(net.parameters(), 1e-2)
    inputs, target = 2 * x[:, None] - 1, sawtooth(x, folds)
    for step in lab.steps(name, settings.steps, state=(net, optimiser)):
        loss = (net(inputs)[:, 0] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    return rms(net(inputs)[:, 0], target)


def rms(values: Tensor, target: Tensor) -> float:
    """Root mean square error."""
    return float((values - target).detach().square().mean().sqrt())


def draw(results: Sequence[Measured], settings: DeepVsShallowSettings) -> dict[str, Figure]:
    """Units by folds, possible and found, with intervals over the seeds."""
    figure, axes = new_figure(8.4, 3.4, columns=2)
    panels = (("possible", settings.folds), ("found", settings.trained))
    for axis, (what, most) in zip(axes, panels, strict=True):
        for colour, kind in zip(COLOURS, LAYERS, strict=False):
            keys = [f"{kind}/{what}-{folds}" for folds in range(1, most + 1)]
            mean, half = over_seeds(results, keys)
            axis.errorbar(range(1, most + 1), mean, half, fmt="o-", color=colour, label=kind)
        axis.set(title=f"Units: {what}", xlabel="folds", yscale="log")
        axis.legend()
    return {"units": figure}
