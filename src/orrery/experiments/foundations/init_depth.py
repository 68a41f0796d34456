"""Which initialisation keeps signals alive through fifty layers?

Stacks of fifty layers of tanh or of ReLU read real digits. Their weights have Xavier's variance,
He's, a quarter or four times Xavier's. Measured before training: the mean square of the signal and
the norm of the loss's gradient, layer by layer, and the slope of its logarithm beside two
predictions, the product of norms and the mean of a random layer. Then each stack is trained.

The plan makes the gradient proportional to the product of ||W|| max|f'|; being a bound, it can be
above 1 in every layer while the gradient vanishes.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from orrery.data import digits
from orrery.data.batches import sample_batch
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.activations import RIVALS
from orrery.systems.foundations.initialisation import he_normal_, xavier_normal_
from orrery.systems.foundations.optimisers import Momentum
from orrery.systems.foundations.signal_propagation import (
    bound_slope,
    fitted_slope,
    gradient_norms,
    mean_slope,
    mean_squares,
)
from orrery.train.side_by_side import SideBySide

FUNCTIONS = ("tanh", "relu")
BENDS = {"tanh": nn.Tanh, "relu": nn.ReLU}  # the fast ones of torch
STARTS = {"small": 0.25, "xavier": 1.0, "he": 2.0, "large": 4.0}  # width times variance
RATES = (1e-3, 3e-3, 1e-2)
LOST = 10.0

CLAIMS = (
    Finding(
        "He's weights keep the gradient of a ReLU stack where Xavier's lose five powers of ten",
        effect=lambda m: abs(m["relu-xavier/decades"]) - abs(m["relu-he/decades"]),
        margin=5.0,
    ),
    Claim(
        "gradient-product",
        effect=lambda m: min(m["relu-xavier/bound_slope"], -m["relu-xavier/slope"]),
        margin=0.1,
        text="the product of norms is a bound and no prediction: it grows in every layer of a "
        "ReLU stack with Xavier's weights, while the gradient vanishes",
    ),
    Finding(
        "the mean of a random layer predicts every slope to a twentieth",
        effect=lambda m: (
            0.05 - max(abs(m[f"{arm}/slope"] - m[f"{arm}/mean_slope"]) for arm in arms())
        ),
    ),
    Finding(
        "after training, ReLU with He's weights has half a nat less than with Xavier's",
        effect=lambda m: m["relu-xavier/loss"] - m["relu-he/loss"],
        margin=0.5,
    ),
    Finding(
        "tanh trains with Xavier's weights: half a nat less than with small ones",
        effect=lambda m: m["tanh-small/loss"] - m["tanh-xavier/loss"],
        margin=0.5,
    ),
    Control(
        "no gradient exceeds its bound",
        effect=lambda m: min(m[f"{arm}/bound_slope"] - m[f"{arm}/slope"] for arm in arms()),
    ),
    Control(
        "some deep stack learns: under half the loss of guessing",
        effect=lambda m: 0.5 * math.log(10) - min(m[f"{arm}/loss"] for arm in arms()),
    ),
)
ABLATIONS = ("wrong_scale",)
SCALES = {
    "smoke": {"depth": 6, "steps": 2},
    "tour": {"steps": 40},
    "large": {"depth": 200, "width": 512, "steps": 2_000},
}


def arms() -> list[str]:
    """Every activation with every start."""
    return [f"{function}-{start}" for function in FUNCTIONS for start in STARTS]


class InitDepthSettings(Settings):
    """A smoke run has six layers and takes two steps."""

    depth: Annotated[int, Range(2, 1_000, "layers")] = 50
    """Layers between the one that reads the pixels and the one that tells the classes."""
    width: Annotated[int, Range(2, 4_096)] = 64
    """Of every layer."""
    steps: Annotated[int, Range(1, 1_000_000)] = 150
    """Optimiser steps at each rate."""
    batch: Annotated[int, Range(2, 1_437)] = 64
    """Digits in a batch."""


def run(settings: InitDepthSettings, lab: Lab) -> Measured:
    """Look at every stack, then train it."""
    train, _ = digits.load()
    x = torch.from_numpy(train.images).flatten(1).float().to(lab.device)
    x, labels = x - x.mean(0), torch.from_numpy(train.labels).to(lab.device)
    x = x / x.square().mean().sqrt()  # so that the first layer receives a mean square of 1
    measured: Measured = {}
    profiles = {}
    for arm in arms():
        function, start = arm.split("-")
        if lab.ablated("wrong_scale") and start == "he":
            start = "xavier"
        net = stack(function, STARTS[start], settings, lab.rng("weights")).to(lab.device)
        profiles[arm], found = signals(net, function, STARTS[start], x, labels)
        copies = SideBySide(net, F.cross_entropy, RATES, steps=settings.steps, lost=LOST)
        optimiser = Momentum(copies.groups(), RATES[0])
        for step in lab.steps(arm, settings.steps, state=(copies, optimiser)):
            chosen = sample_batch(len(x), settings.batch, lab.rng("batch", step))
            lab.log(lowest=copies.train_step(step, x[chosen], labels[chosen], optimiser).min())
        last = copies.losses[-max(1, settings.steps // 6) :].mean(0)
        measured |= {f"{arm}/{key}": value for key, value in found.items()}
        measured |= {f"{arm}/loss-{i}": float(loss) for i, loss in enumerate(last)}
        measured[f"{arm}/loss"] = float(last.min())
    lab.figure("signals", profiles_figure(profiles))
    return measured


def stack(
    function: str, scale: float, settings: InitDepthSettings, generator: Generator
) -> nn.Sequential:
    """The deep net; all starts of one generator are multiples of one another."""
    layers: list[nn.Module] = []
    for i in range(settings.depth + 2):
        inputs = 64 if i == 0 else settings.width
        outputs = 10 if i == settings.depth + 1 else settings.width
        linear = nn.Linear(inputs, outputs)
        nn.init.zeros_(linear.bias)
        if 1 <= i <= settings.depth:  # Xavier's variance is 1 / width here, He's twice that
            xavier_normal_(linear.weight, generator, gain=math.sqrt(scale))
        else:  # both ends are alike in all arms, and large enough to pass all of it on
            he_normal_(linear.weight, generator)
        layers.append(linear if i == 0 else nn.Sequential(BENDS[function](), linear))
    return nn.Sequential(*layers)


def signals(
    net: nn.Sequential, function: str, scale: float, x: Tensor, labels: Tensor
) -> tuple[tuple[list[float], list[float]], Measured]:
    """Mean squares and gradient norms by layer, and the slope with its predictions."""
    net, x, labels = net.double(), x[:256].double(), labels[:256]
    squares = mean_squares(net, x)
    norms = gradient_norms(net, x, lambda y: F.cross_entropy(y, labels))
    inner, weights = norms[1:-1], [layer[1].weight for layer in list(net)[1:-1]]  # type: ignore[index]
    bounds = [bound_slope(weight, 1.0) for weight in weights]  # both have slopes up to 1
    means = [mean_slope(RIVALS[function], q, scale) for q in squares[:-2]]
    slope = fitted_slope([max(norm, 1e-300) for norm in inner])
    net.float()
    return (squares[:-1], inner), {
        "slope": slope,
        "bound_slope": sum(bounds) / len(bounds),
        "mean_slope": sum(means) / len(means),
        "decades": slope * len(weights) / math.log(10),
    }


def profiles_figure(profiles: dict[str, tuple[list[float], list[float]]]) -> Figure:
    """Signals and gradients of the untrained stacks, layer by layer."""
    figure, axes = new_figure(8.4, 5.4, rows=2, columns=2)
    for row, function in enumerate(FUNCTIONS):
        for colour, start in zip(COLOURS, STARTS, strict=False):
            for axis, values in zip(axes[2 * row :], profiles[f"{function}-{start}"], strict=False):
                axis.semilogy(values, color=colour, label=start)
        axes[2 * row].set(title=f"{function}: mean square of the signal", xlabel="layer")
        axes[2 * row + 1].set(title=f"{function}: norm of the gradient", xlabel="layer")
    axes[1].legend()
    return figure


def draw(results: Sequence[Measured], settings: InitDepthSettings) -> dict[str, Figure]:
    """Slopes beside their predictions, and losses, with intervals over the seeds."""
    figure, (slopes, losses) = new_figure(9.0, 3.6, columns=2)
    places = list(range(len(arms())))
    for style, key in (("s", "bound_slope"), ("o", "slope"), ("xk", "mean_slope")):
        mean, half = over_seeds(results, [f"{arm}/{key}" for arm in arms()])
        slopes.errorbar(places, mean, half, fmt=style, ms=6, capsize=3, label=key.replace("_", " "))
    slopes.set(title="Change of the log gradient a layer", ylabel="nats, going down")
    slopes.legend()
    mean, half = over_seeds(results, [f"{arm}/loss" for arm in arms()])
    losses.bar(places, mean, yerr=half, color=COLOURS[0], ecolor="#9aa0aa")
    losses.set(title="Loss after training, at the best rate", ylabel="nats", ylim=(0, 3))
    for axis in (slopes, losses):
        axis.set_xticks(places, arms(), rotation=45, ha="right")
    return {"starts": figure}
