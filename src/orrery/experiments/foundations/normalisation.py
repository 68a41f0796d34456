"""Does batch normalisation permit higher rates and deeper plain nets?

Plain networks of six and of twenty layers, without shortcuts, learn Fashion-MNIST, halved to
14 x 14 pixels: bare, with He's initialisation, and with batch normalisation in front of every ReLU.
Each is trained at seven rates on the same batches. A rate serves if the loss, averaged over the
last sixth of the training, is under half of that of guessing. At the end the shallow normalised net
is tested with running statistics, which must not cost it what it learned.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.batch_norm import BatchNorm, BatchNormConfig
from orrery.systems.foundations.initialisation import he_normal_
from orrery.systems.foundations.optimisers import Momentum
from orrery.train.side_by_side import SideBySide

DECADES = tuple(i / 2 - 3 for i in range(7))  # log10 of the rates: up to 1
GUESSING = math.log(10)
ARMS = ("bare", "normalised")

CLAIMS = (
    Finding(
        "higher rates: the highest that serves the shallow net is at least half a decade higher",
        effect=lambda m: m["normalised-shallow/highest"] - m["bare-shallow/highest"],
        margin=0.45,
    ),
    Finding(
        "deeper plain nets: twenty layers learn half a nat more, each at its best rate",
        effect=lambda m: m["bare-deep/best"] - m["normalised-deep/best"],
        margin=0.5,
    ),
    Finding(
        "where a net is shallow and its rate is right, there is little to gain: a tenth of a nat",
        effect=lambda m: 0.1 - (m["bare-shallow/best"] - m["normalised-shallow/best"]),
    ),
    Finding(
        "running statistics serve: with them the shallow net errs no more than in batches, to a "
        "twentieth",
        effect=lambda m: 0.05 - (m["running_error"] - m["batches_error"]),
    ),
    Control(
        "both shallow nets learn: under half the loss of guessing",
        effect=lambda m: GUESSING / 2 - max(m[f"{arm}-shallow/best"] for arm in ARMS),
    ),
    Control(
        "the bare net's highest rate is inside the range",
        effect=lambda m: DECADES[-1] - m["bare-shallow/highest"],
        margin=0.4,
    ),
)
ABLATIONS = ("no_norm",)
SCALES = {
    "smoke": {"steps": 6, "images": 64, "deep": 8},
    "tour": {"steps": 80},
    "large": {"steps": 5_000, "images": 60_000, "width": 256, "deep": 100},
}


class NormalisationSettings(Settings):
    """A smoke run takes six steps."""

    steps: Annotated[int, Range(6, 1_000_000)] = 150
    """Optimiser steps at each rate."""
    images: Annotated[int, Range(16, 60_000)] = 4_096
    """Pictures to train on, and at most as many others to test on."""
    batch: Annotated[int, Range(2, 4_096)] = 64
    """Pictures in a batch."""
    width: Annotated[int, Range(2, 4_096)] = 64
    """Of every hidden layer."""
    shallow: Annotated[int, Range(1, 1_000, "layers")] = 6
    """Hidden layers of the shallow nets."""
    deep: Annotated[int, Range(1, 1_000, "layers")] = 20
    """Hidden layers of the deep nets."""


def run(settings: NormalisationSettings, lab: Lab) -> Measured:
    """Train both kinds at both depths and at all rates."""
    (images, labels), test = (
        draw_pictures(part, settings.images, lab.rng(name), halvings=1)
        for part, name in zip(fashion_mnist.load(), ("train", "test"), strict=True)
    )
    rates = [10**decade for decade in DECADES]
    measured: Measured = {}
    for size, depth in (("shallow", settings.shallow), ("deep", settings.deep)):
        for arm in ARMS:
            norm = arm == "normalised" and not lab.ablated("no_norm")
            net = plain_net(depth, settings.width, norm, lab.rng("weights", depth)).to(lab.device)
            copies = SideBySide(net, F.cross_entropy, rates, steps=settings.steps, lost=4.0)
            optimiser = Momentum(copies.groups(), rates[0])
            for step in lab.steps(f"{arm}-{size}", settings.steps, state=(copies, optimiser)):
                chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
                losses = copies.train_step(step, images[chosen], labels[chosen], optimiser)
                lab.log(lowest=losses.min())
            last = copies.losses[-(settings.steps // 6) :].mean(0).tolist()
            serves = [d for d, loss in zip(DECADES, last, strict=True) if loss < GUESSING / 2]
            name = f"{arm}-{size}"
            measured |= {f"{name}/{i}": loss for i, loss in enumerate(last)}
            measured[f"{name}/best"] = min(last)
            measured[f"{name}/highest"] = max(serves, default=DECADES[0] - 0.5)
            if name == "normalised-shallow":
                measured |= both_modes(copies.models[last.index(min(last))], *test)
    return measured


def plain_net(depth: int, width: int, norm: bool, generator: Generator) -> nn.Sequential:
    """Linear layers with ReLUs between them, normalised in front of the ReLU or not."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layers.append(nn.Linear(width if i else 196, width))
        if norm:
            layers.append(BatchNorm(BatchNormConfig(channels=width)))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(width, 10))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            he_normal_(layer.weight, generator)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


@torch.no_grad()
def both_modes(net: nn.Module, images: Tensor, labels: Tensor) -> Measured:
    """Test error with the statistics of batches and with the running ones."""
    found = {}
    for name, training in (("running", False), ("batches", True)):
        net.train(training)
        classes = torch.cat([net(batch).argmax(1) for batch in images.split(256)])
        found[f"{name}_error"] = float((classes != labels).float().mean())
    return found


def draw(results: Sequence[Measured], settings: NormalisationSettings) -> dict[str, Figure]:
    """The loss at every rate, with intervals over the seeds."""
    figure, axes = new_figure(8.4, 3.4, columns=2, sharey=True)
    for axis, size in zip(axes, ("shallow", "deep"), strict=True):
        for colour, arm in zip(COLOURS, ARMS, strict=False):
            mean, half = over_seeds(results, [f"{arm}-{size}/{i}" for i in range(len(DECADES))])
            axis.errorbar(DECADES, mean, half, fmt="o-", color=colour, capsize=3, label=arm)
        layers = settings.shallow if size == "shallow" else settings.deep
        axis.axhline(GUESSING / 2, color=COLOURS[7], linestyle="--")
        axis.set(title=f"{layers} layers", xlabel="log10 of the rate", ylim=(0, 4))
    axes[0].set_ylabel("training loss")
    axes[0].legend()
    return {"rates": figure}
