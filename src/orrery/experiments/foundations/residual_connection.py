"""Is a map near the identity easier to learn with a shortcut?

Fully connected stacks of ten blocks, with and without the shortcut, learn two maps of real images
(Fashion-MNIST, shrunk to 7 x 7 pixels): one that changes its input by a tenth, and one that has
nothing to do with it. Each stack starts from weights that keep the spread of its input. What a
stack leaves unexplained of the map's variance is compared in powers of ten; the plan's reason for
shortcuts, that they need not learn the identity, is right if they help more on the map near it.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.optimisers import Adam
from orrery.systems.foundations.residual_connection import ResidualStack, ResidualStackConfig

ARMS = ("plain", "residual")
MAPS = ("near", "far")


def decades(m: Measured, target: str) -> float:
    """Powers of ten by which the shortcut lowers what is left unexplained of a map."""
    return math.log10(m[f"{target}/plain"] / m[f"{target}/residual"])


CLAIMS = (
    Claim(
        "residual-easy-identity",
        effect=lambda m: decades(m, "near") - decades(m, "far"),
        text="a shortcut helps more to learn a map near the identity than one far from it",
    ),
    Finding(
        "a shortcut helps to learn a map that has nothing to do with its input, too",
        effect=lambda m: decades(m, "far"),
    ),
    Control(
        "every stack learns: it explains half of the variance",
        effect=lambda m: 0.5 - max(m[f"{target}/{arm}"] for target in MAPS for arm in ARMS),
    ),
)
ABLATIONS = ("no_shortcut",)
SCALES = {
    "smoke": {"steps": 2, "images": 64, "depth": 2},
    "tour": {"steps": 100},
    "large": {"steps": 20_000, "images": 60_000, "depth": 50},
}


class ResidualConnectionSettings(Settings):
    """A smoke run takes two steps with shallow stacks; a tour takes a third of the steps."""

    steps: Annotated[int, Range(1, 1_000_000)] = 300
    """Optimiser steps of each stack."""
    depth: Annotated[int, Range(1, 500)] = 10
    """Blocks, each of two layers."""
    images: Annotated[int, Range(16, 60_000)] = 4_096
    """Images that the maps are learned on."""
    batch: Annotated[int, Range(1, 4_096, "images")] = 64
    """Images in a batch."""
    change: Annotated[float, Range(0.0, 1.0)] = 0.1
    """How much of the near map is something other than the identity."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 1e-3
    """Learning rate of Adam."""


def run(settings: ResidualConnectionSettings, lab: Lab) -> Measured:
    """Learn both maps with both stacks."""
    train, _ = fashion_mnist.load()
    images, _ = draw_pictures(train, settings.images, lab.rng("images"), halvings=2)
    x = standard(images.flatten(1))
    torch.manual_seed(lab.rng("map").initial_seed())
    config = ResidualStackConfig(width=x.shape[1], depth=1, shortcut=False)
    with torch.no_grad():
        far = standard(ResidualStack(config).to(lab.device)(x))
    near = math.sqrt(1 - settings.change**2) * x + settings.change * far
    return {
        f"{name}/{arm}": learn(f"{name}-{arm}", arm, x, target, settings, lab)
        for name, target in zip(MAPS, (near, far), strict=True)
        for arm in ARMS
    }


def learn(
    phase: str, arm: str, x: Tensor, y: Tensor, settings: ResidualConnectionSettings, lab: Lab
) -> float:
    """The share of the variance of y that a stack leaves unexplained after training."""
    torch.manual_seed(lab.rng("weights").initial_seed())  # all stacks start alike
    shortcut = arm == "residual" and not lab.ablated("no_shortcut")
    config = ResidualStackConfig(width=x.shape[1], depth=settings.depth, shortcut=shortcut)
    stack = ResidualStack(config).to(lab.device)
    optimiser = Adam(stack.parameters(), settings.rate)
    for step in lab.steps(phase, settings.steps, state=(stack, optimiser)):
        chosen = sample_batch(len(x), settings.batch, lab.rng("batch", step))
        loss = (stack(x[chosen]) - y[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lab.log(loss=loss)
    with torch.no_grad():
        return float((stack(x) - y).square().mean() / y.var())


def standard(x: Tensor) -> Tensor:
    """The same numbers with mean 0 and spread 1."""
    return (x - x.mean()) / x.std()


def draw(results: Sequence[Measured], settings: ResidualConnectionSettings) -> dict[str, Figure]:
    """What each stack leaves unexplained, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.4, 3.2)
    for i, arm in enumerate(ARMS):
        mean, half = over_seeds(results, [f"{target}/{arm}" for target in MAPS])
        places = [place + 0.4 * i - 0.2 for place in range(len(MAPS))]
        axis.bar(places, mean, 0.38, yerr=half, capsize=3, label=arm, color=COLOURS[1 - i])
    axis.set_xticks(range(len(MAPS)), ("near the identity", "far from it"))
    axis.set(title="What is left to learn", ylabel="unexplained variance", yscale="log")
    axis.legend()
    return {"left": figure}
