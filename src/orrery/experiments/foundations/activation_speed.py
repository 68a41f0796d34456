"""Does ReLU train faster than tanh and sigmoid?

A convolutional net of four layers, as in the paper's figure 1, learns emoji in place of CIFAR-10,
halved to 16 x 16 pixels. Counted are the steps until only a quarter of the training pictures is
wrong, the paper's mark. Every activation has its own initialisation (He's for ReLU, Xavier's for
the others) and is tried at five learning rates, all on the same batches; the best rate counts. A
rate that does not get there counts as all steps there were, so that what is said of a slow
activation is the least that is true of it.

A ReLU channel is dead when it is 0 at every place of every picture looked at.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from orrery.data import emoji
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_colours
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.activations import dead_rate, relu
from orrery.systems.foundations.initialisation import he_normal_, xavier_normal_
from orrery.systems.foundations.optimisers import Momentum
from orrery.train.side_by_side import SideBySide

ARMS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip
RATES = tuple(10 ** (i / 2 - 2.5) for i in range(5))  # half a decade apart, up to 0.3
MARK = 0.25  # of the training pictures

CLAIMS = (
    Claim(
        "relu-6x",
        effect=lambda m: m["tanh/best"] / m["relu/best"],
        margin=1.0,
        text="a net of four layers gets to a quarter of training errors in fewer steps with ReLU "
        "than with tanh, each at its best rate",
    ),
    Finding(
        "the factor six is not general: here ReLU is less than six times as fast as tanh",
        effect=lambda m: 6 - m["tanh/best"] / m["relu/best"],
    ),
    Finding(
        "sigmoid takes a quarter as many steps again as tanh, or more",
        effect=lambda m: m["sigmoid/best"] / m["tanh/best"],
        margin=1.25,
    ),
    Finding(
        "ReLU gets there over as wide a range of rates as tanh: as many of the five",
        effect=lambda m: m["relu/usable"] - m["tanh/usable"],
        margin=-0.5,
    ),
    Finding(
        "too high a rate kills ReLU's channels: a tenth more are dead than at the best rate",
        effect=lambda m: m[f"dead/{len(RATES) - 1}"] - m["dead/best"],
        margin=0.1,
    ),
    Control(
        "ReLU and tanh get there",
        effect=lambda m: m["all_steps"] - max(m["relu/best"], m["tanh/best"]),
    ),
    Control(
        "the best rates of ReLU and tanh have slower ones on both sides",
        effect=lambda m: min(m["relu/inside"], m["tanh/inside"]),
        margin=0.5,
    ),
)
ABLATIONS = ("same_activation",)
SCALES = {
    "smoke": {"steps": 10, "images": 64},
    "tour": {"steps": 500},
    "large": {"steps": 4_000, "channels": 64},
}


class ActivationSpeedSettings(Settings):
    """A smoke run takes ten steps."""

    steps: Annotated[int, Range(10, 1_000_000)] = 600
    """Optimiser steps at each rate."""
    images: Annotated[int, Range(16, 1_520)] = 1_520
    """Pictures to train on."""
    looked_at: Annotated[int, Range(16, 1_520, "pictures")] = 512
    """Of them, those that errors and dead channels are counted on."""
    every: Annotated[int, Range(1, 1_000, "steps")] = 10
    """Between two counts."""
    batch: Annotated[int, Range(1, 4_096)] = 32
    """Pictures in a batch."""
    channels: Annotated[int, Range(1, 512)] = 8
    """Of the first layer; the others have twice as many."""


class Arrivals(nn.Module):
    """The step at which each copy first got to the mark; a buffer, and so kept on a resume."""

    first: Int64[Tensor, " rates"]

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("first", torch.full((len(RATES),), steps))

    @torch.no_grad()
    def look(self, step: int, copies: SideBySide, images: Tensor, labels: Tensor) -> None:
        """Note the copies that are there for the first time."""
        for i, model in enumerate(copies.models):
            if self.first[i] == self.steps:
                wrong = (model(images).argmax(1) != labels).float().mean()
                self.first[i] = step if wrong <= MARK else self.steps


def run(settings: ActivationSpeedSettings, lab: Lab) -> Measured:
    """Race the three, each at five rates."""
    train, _ = emoji.load()
    images, labels = draw_colours(train, settings.images, lab.rng("images"))
    images = F.avg_pool2d(images, 2)
    seen, seen_labels = images[: settings.looked_at], labels[: settings.looked_at]
    measured: Measured = {"all_steps": float(settings.steps)}
    for arm in ARMS:
        function = "tanh" if lab.ablated("same_activation") else arm
        net = small_net(function, settings.channels, lab.rng("weights")).to(lab.device)
        copies = SideBySide(net, F.cross_entropy, RATES, steps=settings.steps, lost=20.0)
        arrivals = Arrivals(settings.steps).to(lab.device)
        optimiser = Momentum(copies.groups(), RATES[0])
        for step in lab.steps(arm, settings.steps, state=(copies, optimiser, arrivals)):
            if step % settings.every == 0:
                arrivals.look(step, copies, seen, seen_labels)
            chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
            losses = copies.train_step(step, images[chosen], labels[chosen], optimiser)
            lab.log(lowest=losses.min())
        first = arrivals.first.tolist()
        best = first.index(min(first))
        measured |= {f"{arm}/{i}": float(steps) for i, steps in enumerate(first)}
        measured[f"{arm}/best"] = float(max(first[best], settings.every))
        measured[f"{arm}/inside"] = float(first[0] > first[best] < first[-1])
        measured[f"{arm}/usable"] = float(sum(steps < settings.steps for steps in first))
        if arm == "relu":
            dead = [dead_channels(model, seen) for model in copies.models]
            measured |= {f"dead/{i}": share for i, share in enumerate(dead)}
            measured["dead/best"] = dead[best]
    return measured


def small_net(function: str, channels: int, generator: Generator) -> nn.Sequential:
    """Three convolutions, of which two halve the picture, and a linear layer."""
    c, bend = channels, ARMS[function]
    net = nn.Sequential(
        nn.Conv2d(3, c, 3, padding=1), bend(),
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), bend(),
        nn.Conv2d(2 * c, 2 * c, 3, stride=2, padding=1), bend(),
        nn.Flatten(), nn.Linear(2 * c * 16, 9),
    )  # fmt: skip
    for weight in net.parameters():
        if weight.ndim == 1:
            nn.init.zeros_(weight)
        else:
            (he_normal_ if function == "relu" else xavier_normal_)(weight, generator)
    return net


@torch.no_grad()
def dead_channels(net: nn.Module, images: Float[Tensor, "n 3 y x"]) -> float:
    """Share of the channels, over the three convolutions, that are 0 everywhere."""
    rates, x = [], images
    for layer in net.children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            rates += [dead_rate(relu, x.movedim(1, -1).flatten(0, 2))] * layer.out_channels
    return sum(rates) / len(rates)


def draw(results: Sequence[Measured], settings: ActivationSpeedSettings) -> dict[str, Figure]:
    """Steps to the mark and dead channels, rate by rate."""
    figure, (steps, dead) = new_figure(8.4, 3.4, columns=2)
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{i}" for i in range(len(RATES))])
        steps.errorbar(RATES, mean, half, fmt="o-", color=colour, capsize=3, label=arm)
    mean, half = over_seeds(results, [f"dead/{i}" for i in range(len(RATES))])
    dead.errorbar(RATES, mean, half, fmt="o-", color=COLOURS[0], capsize=3)
    steps.set(title="Steps to a quarter of errors", xscale="log", xlabel="rate", yscale="log")
    steps.legend()
    dead.set(title="ReLU channels that are dead", xscale="log", xlabel="rate", ylabel="share")
    return {"speed": figure}
