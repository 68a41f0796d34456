"""What does a backward pass cost?

Networks of 4 to 32 layers of one width have their products counted and their CPU time taken, on
the way there and on the way back, by the house's backpropagation in numpy. Small classifiers of
digits, with one hidden layer of three sizes, find their gradients by backpropagation and by finite
differences: once more forward for every single weight.

The plan has forward and backward each take as many products as there are layers; corrected, the way
back takes two a layer (for the error below and for the weights), twice as many as the way there, so
that a step costs about three forward passes. Tested is that it costs less than four.

Times are CPU seconds of the process, taken in turns, the median of several.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure

from orrery.data import digits
from orrery.experiments.foundations._gradients import (
    Counted,
    by_autograd,
    by_backpropagation,
    by_differences,
    cpu_seconds,
    digits_alike,
    distance,
    forward,
    network,
)
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds

DEPTHS = (4, 8, 16, 32)
WAYS = ("backpropagation", "finite differences")
SIZES = ("small", "middle", "large")  # of the hidden layer: each twice as wide as the one before
NETS = (*(f"{depth}-layers" for depth in DEPTHS), *SIZES)


def passes(m: Measured, net: str, way: str = "gradients") -> float:
    """Time of all gradients in forward passes, up to the loss, of the same net."""
    return m[f"{net}/{way}-seconds"] / m[f"{net}/forward-seconds"]


def ways_back(m: Measured) -> list[float]:
    """Time of the way back, as a multiple of the way there, at each depth."""
    return [m[f"{d}-layers/back-seconds"] / m[f"{d}-layers/there-seconds"] for d in DEPTHS]


def growth(m: Measured) -> float:
    """The power of the depth that the time of a step grows with, by least squares."""
    logs = np.log([m[f"{depth}-layers/gradients-seconds"] for depth in DEPTHS])
    return float(np.polyfit(np.log(DEPTHS), logs, 1)[0])


CLAIMS = (
    Claim(
        "backprop-linear",
        effect=lambda m: 4 - max(passes(m, net) for net in NETS),
        text="the loss and all its gradients cost less than four forward passes, in nets of 2 to "
        "32 layers",
    ),
    Finding(
        "counted, the way back takes between 1.5 and 2.5 times the products of the way there",
        effect=lambda m: 0.5 - max(abs(m[f"{d}-layers/products_back"] - 2) for d in DEPTHS),
    ),
    Finding(
        "in time it takes one and a half times as long as the way there, or more",
        effect=lambda m: min(ways_back(m)),
        margin=1.5,
    ),
    Finding(
        "in time it takes two and a half times as long, or less",
        effect=lambda m: 2.5 - max(ways_back(m)),
    ),
    Finding(
        "the time is linear in the number of layers: it grows with a power from 0.85 to 1.15",
        effect=lambda m: 0.15 - abs(growth(m) - 1),
    ),
    Finding(
        "finite differences cost three times as many forward passes at four times the weights",
        effect=lambda m: passes(m, "large", WAYS[1]) / passes(m, "small", WAYS[1]),
        margin=3.0,
    ),
    Control(
        "gradients are those of PyTorch's autograd, to nine digits",
        effect=lambda m: digits_alike(m, "difference"),
        margin=9.0,
    ),
    Control(
        "finite differences find the same gradients, to three digits",
        effect=lambda m: digits_alike(m, "finite_difference"),
        margin=3.0,
    ),
)
ABLATIONS = ("finite_differences",)
SCALES = {
    "smoke": {"rounds": 1, "width": 16, "examples": 16, "hidden": 2},
    "large": {"rounds": 51, "width": 1_024, "examples": 1_024, "hidden": 32},
}


class BackwardCostSettings(Settings):
    """A smoke run takes every time once, of tiny nets."""

    rounds: Annotated[int, Range(1, 1_000)] = 11
    """Times that each time is taken; of finite differences a fifth as many."""
    width: Annotated[int, Range(2, 8_192)] = 256
    """Of every layer of the deep nets."""
    examples: Annotated[int, Range(2, 100_000)] = 256
    """In a batch; of digits at most as many as there are."""
    hidden: Annotated[int, Range(1, 1_024)] = 8
    """Units of the small classifier; the others have twice and four times as many."""


def run(settings: BackwardCostSettings, lab: Lab) -> Measured:
    """Count and time the deep nets, then the small classifiers, which try both ways."""
    measured = lab.measure("deep", partial(deep, settings, lab))
    measured |= lab.measure("small", partial(both_ways, settings, lab))
    used = WAYS[1] if lab.ablated("finite_differences") else WAYS[0]
    for size in SIZES:
        measured[f"{size}/gradients-seconds"] = measured[f"{size}/{used}-seconds"]
    return measured


def deep(settings: BackwardCostSettings, lab: Lab) -> Measured:
    """Products of the deep nets and their time, and how far their gradients are from autograd's."""
    rng = lab.numpy_rng("batch")
    x = rng.normal(size=(settings.examples, settings.width))
    labels = rng.integers(settings.width, size=settings.examples)
    works: dict[str, Callable[[], object]] = {}
    measured: Measured = {}
    for depth in DEPTHS:
        net = network((settings.width,) * (depth + 1), lab.numpy_rng("weights", depth))
        Counted.products = 0
        counted = net.activations(x.view(Counted))
        products = Counted.products
        net.pass_back(counted, counted[-1])
        found = [np.asarray(a) for a in counted]
        measured |= {
            f"{depth}-layers/products_back": Counted.products / products - 1,
            f"{depth}-layers/difference": distance(
                by_backpropagation(net, x, labels), by_autograd(net, x, labels)
            ),
        }
        works |= {
            f"{depth}-layers/there": partial(net.activations, x),
            f"{depth}-layers/back": partial(net.pass_back, found, found[-1]),
            f"{depth}-layers/forward": partial(forward, net, x, labels),
            f"{depth}-layers/gradients": partial(net.loss_and_gradients, x, labels),
        }
    return measured | cpu_seconds(works, settings.rounds)


def both_ways(settings: BackwardCostSettings, lab: Lab) -> Measured:
    """Times of the small nets' gradients by backpropagation and by finite differences."""
    train, _ = digits.load()
    rows = lab.numpy_rng("examples").permutation(len(train))[: settings.examples]
    batch = train.images[rows].reshape(-1, 64) / 16.0, train.labels[rows]
    fast: dict[str, Callable[[], object]] = {}
    slow: dict[str, Callable[[], object]] = {}
    measured: Measured = {}
    for i, size in enumerate(SIZES):
        net = network((64, settings.hidden << i, 10), lab.numpy_rng(size))
        fast[f"{size}/forward"] = partial(forward, net, *batch)
        fast[f"{size}/backpropagation"] = partial(net.loss_and_gradients, *batch)
        slow[f"{size}/finite differences"] = partial(by_differences, net, *batch)
        ours = by_backpropagation(net, *batch)
        measured[f"{size}/weights"] = float(ours.size)
        measured[f"{size}/difference"] = distance(ours, by_autograd(net, *batch))
        measured[f"{size}/finite_difference"] = distance(ours, by_differences(net, *batch))
    # What is short is timed more often.
    measured |= cpu_seconds(fast, 10 * settings.rounds)
    return measured | cpu_seconds(slow, math.ceil(settings.rounds / 5))


def draw(results: Sequence[Measured], settings: BackwardCostSettings) -> dict[str, Figure]:
    """Time by depth, and what gradients cost by the number of weights."""
    figure, (time_axis, cost_axis) = new_figure(8.4, 3.4, columns=2)
    for colour, part in zip(COLOURS, ("there", "back", "gradients"), strict=False):
        mean, half = over_seeds(results, [f"{depth}-layers/{part}-seconds" for depth in DEPTHS])
        time_axis.errorbar(DEPTHS, mean, half, fmt="o-", color=colour, capsize=3, label=part)
    time_axis.set(title="Time by depth", xlabel="layers", ylabel="CPU seconds", ylim=(0, None))
    weights = [results[0][f"{size}/weights"] for size in SIZES]
    for colour, way in zip(COLOURS[2:], WAYS, strict=False):
        costs = [{size: passes(m, size, way) for size in SIZES} for m in results]
        mean, half = over_seeds(costs, SIZES)
        cost_axis.errorbar(weights, mean, half, fmt="o-", color=colour, capsize=3, label=way)
    cost_axis.axhline(4, color=COLOURS[7], linestyle="--")
    cost_axis.set(title="All gradients", xlabel="weights", ylabel="forward passes",
                  xscale="log", yscale="log")  # fmt: skip
    time_axis.legend()
    cost_axis.legend()
    return {"cost": figure}
