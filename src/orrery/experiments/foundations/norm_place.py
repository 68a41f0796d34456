"""Does a Transformer need warm-up with its norms behind the sums, and not with them in front?

A small encoder reads a picture of Fashion-MNIST, halved, as fourteen rows and tells its class. Its
layer norms stand behind each sum (post, as in 2017) or in front of each branch (pre).
Each is trained with Adam, on the same batches from the same weights, at four rates, with
the full rate from the first step and with a warm-up over a fifth of the steps.

What a kind gains by warm-up is how much lower its loss is with it, at the rate that is best with
it: that is the rate one would want to use.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.multi_head import MultiHeadAttention
from orrery.systems.foundations.layer_norm import AddNorm, LayerNorm, Place
from orrery.systems.foundations.optimisers import Adam
from orrery.train.schedule import scale_rates, trapezoid
from orrery.train.side_by_side import SideBySide

DECADES = (-3.5, -3.0, -2.5, -2.0)  # log10 of the rates
PLACES: tuple[Place, ...] = ("post", "pre")
STARTS = ("cold", "warm")

CLAIMS = (
    Finding(
        "post-norm gains a tenth of a nat more by warm-up than pre-norm",
        effect=lambda m: gain(m, "post") - gain(m, "pre"),
        margin=0.1,
    ),
    Finding(
        "pre-norm does without warm-up: it gains less than a tenth of a nat",
        effect=lambda m: 0.1 - gain(m, "pre"),
    ),
    Finding(
        "without warm-up pre-norm serves at a higher rate: by half a decade or more",
        effect=lambda m: highest(m, "pre-cold") - highest(m, "post-cold"),
        margin=0.45,
    ),
    Finding(
        "at the best rate with warm-up the two are even, to a tenth of a nat",
        effect=lambda m: 0.1 - abs(best(m, "post-warm") - best(m, "pre-warm")),
    ),
    Control(
        "both learn with warm-up: under half the loss of guessing",
        effect=lambda m: 0.5 * math.log(10) - max(best(m, "post-warm"), best(m, "pre-warm")),
    ),
    Control(
        "the best rates with warm-up are not the lowest",
        effect=lambda m: min(m[f"{place}-warm/0"] - best(m, f"{place}-warm") for place in PLACES),
    ),
)
ABLATIONS = ("same_place",)
SCALES = {
    "smoke": {"steps": 5, "images": 64, "depth": 2},
    "tour": {"steps": 60},
    "large": {"steps": 5_000, "images": 60_000, "width": 256, "depth": 12},
}


def losses(m: Measured, arm: str) -> list[float]:
    """The loss at each rate."""
    return [m[f"{arm}/{i}"] for i in range(len(DECADES))]


def best(m: Measured, arm: str) -> float:
    """The loss at the best rate."""
    return min(losses(m, arm))


def gain(m: Measured, place: str) -> float:
    """Nats that warm-up saves at the rate that is best with it."""
    warm = losses(m, f"{place}-warm")
    return losses(m, f"{place}-cold")[warm.index(min(warm))] - min(warm)


def highest(m: Measured, arm: str) -> float:
    """The highest rate, as a power of ten, that comes under half the loss of guessing."""
    found = [d for d, x in zip(DECADES, losses(m, arm), strict=True) if x < math.log(10) / 2]
    return max(found, default=DECADES[0] - 0.5)


class NormPlaceSettings(Settings):
    """A smoke run has two layers and takes five steps."""

    steps: Annotated[int, Range(5, 1_000_000)] = 100
    """Optimiser steps at each rate."""
    images: Annotated[int, Range(16, 60_000)] = 4_096
    """Pictures to train on."""
    batch: Annotated[int, Range(1, 4_096)] = 32
    """Pictures in a batch."""
    width: Annotated[int, Range(4, 4_096)] = 32
    """Numbers a row becomes; a multiple of four."""
    depth: Annotated[int, Range(1, 100, "layers")] = 6
    """Pairs of attention and feed-forward layer."""


class RowReader(nn.Module):
    """A Transformer encoder over the rows of a picture; the mean over rows tells the class."""

    def __init__(self, width: int, depth: int, place: Place) -> None:
        super().__init__()
        self.embed = nn.Linear(14, width)
        self.rows = nn.Parameter(0.1 * torch.randn(14, width))
        branches: list[nn.Module] = []
        for _ in range(depth):
            hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU())
            branches += [
                MultiHeadAttention(width, 4),
                nn.Sequential(hidden, nn.Linear(2 * width, width)),
            ]
        self.blocks = nn.Sequential(*(AddNorm(branch, width, place) for branch in branches))
        self.last = LayerNorm(width) if place == "pre" else nn.Identity()
        self.head = nn.Linear(width, 10)
        for matrix in self.blocks.parameters():
            if matrix.ndim == 2:
                nn.init.xavier_uniform_(matrix)

    def forward(self, images: Float[Tensor, "b 1 14 14"]) -> Float[Tensor, "b 10"]:
        """A score for each class."""
        x = self.blocks(self.embed(images[:, 0]) + self.rows)
        return self.head(self.last(x).mean(1))


def run(settings: NormPlaceSettings, lab: Lab) -> Measured:
    """Train both kinds with and without warm-up, at all rates."""
    train, _ = fashion_mnist.load()
    images, labels = draw_pictures(train, settings.images, lab.rng("images"), halvings=1)
    rates = [10**decade for decade in DECADES]
    measured: Measured = {}
    for place in PLACES:
        for start in STARTS:
            torch.manual_seed(lab.rng("weights").initial_seed())
            net = RowReader(
                settings.width, settings.depth, "pre" if lab.ablated("same_place") else place
            ).to(lab.device)
            copies = SideBySide(net, F.cross_entropy, rates, steps=settings.steps, lost=10.0)
            optimiser = Adam(copies.groups(), rates[0])
            warmup = settings.steps // 5 if start == "warm" else 0
            for step in lab.steps(f"{place}-{start}", settings.steps, state=(copies, optimiser)):
                scale_rates(optimiser, trapezoid(step, settings.steps, warmup=warmup))
                chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
                found = copies.train_step(step, images[chosen], labels[chosen], optimiser)
                lab.log(lowest=found.min())
            last = copies.losses[-max(1, settings.steps // 6) :].mean(0)
            measured |= {f"{place}-{start}/{i}": float(loss) for i, loss in enumerate(last)}
    return measured


def draw(results: Sequence[Measured], settings: NormPlaceSettings) -> dict[str, Figure]:
    """The loss at every rate, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.0, 3.6)
    for colour, place in zip(COLOURS, PLACES, strict=False):
        for style, start in (("o:", "cold"), ("o-", "warm")):
            keys = [f"{place}-{start}/{i}" for i in range(len(DECADES))]
            mean, half = over_seeds(results, keys)
            axis.errorbar(
                DECADES, mean, half, fmt=style, color=colour, capsize=3, label=f"{place}, {start}"
            )
    axis.set(title="Loss by place of the norm", xlabel="log10 of the rate", ylabel="nats")
    axis.legend()
    return {"places": figure}
