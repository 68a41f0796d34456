"""Do dropout and data augmentation lower the test error?

Three pairs of nets learn so few pictures that they know them by heart at the end. One net of each
pair is helped; both see the same batches and start from the same weights. A wide network of two
hidden layers learns clothes with and without dropout of half its hidden units; a small
convolutional one learns digits with and without random crops, and clothes with and without mirror
images. What counts is the error on other pictures.

Digits stand in one place of their frame as in another. Shoes do not: in Fashion-MNIST nearly all of
them point to the left, so there a mirror image is a picture that no test will show.
"""

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from orrery.data import fashion_mnist, mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.error_rate import error_rate
from orrery.systems.foundations.augmentation import AugmentationConfig, augment
from orrery.systems.foundations.dropout import Dropout
from orrery.systems.foundations.initialisation import he_normal_
from orrery.systems.foundations.optimisers import Adam
from orrery.train.schedule import scale_rates, trapezoid

PAIRS = {"clothes": "dropout", "digits": "crops", "mirrored": "mirrors"}  # what may help each
ARMS = tuple(f"{pair}{helper}" for pair in PAIRS for helper in ("", f"-{PAIRS[pair]}"))

CLAIMS = (
    Finding(
        "dropout on clothes and crops on digits both lower the test error",
        effect=lambda m: min(gain(m, "clothes"), gain(m, "digits")),
    ),
    Finding(
        "dropout of half the units lowers the test error of the wide network by one in a hundred",
        effect=lambda m: gain(m, "clothes"),
        margin=0.01,
    ),
    Finding(
        "crops lower the test error on digits by one in a hundred",
        effect=lambda m: gain(m, "digits"),
        margin=0.01,
    ),
    Finding(
        "mirror images, too, lower the test error on clothes",
        effect=lambda m: gain(m, "mirrored"),
    ),
    Control(
        "there is over-fitting to lower: bare nets err on one in twenty more of the test pictures",
        effect=lambda m: min(m[f"{pair}/test_error"] - m[f"{pair}/train_error"] for pair in PAIRS),
        margin=0.05,
    ),
    Control(
        "all have learned: under a third of the test pictures are wrong",
        effect=lambda m: 1 / 3 - max(m[f"{arm}/test_error"] for arm in ARMS),
    ),
)
ABLATIONS = ("no_dropout", "no_crops")
SCALES = {
    "smoke": {"steps": 4, "images": 64, "digits": 64, "tests": 64},
    "large": {"steps": 20_000, "images": 10_000, "tests": 10_000, "width": 2_048, "channels": 64},
}


def gain(m: Measured, pair: str) -> float:
    """By how much the test error of the helped one is lower."""
    return m[f"{pair}/test_error"] - m[f"{pair}-{PAIRS[pair]}/test_error"]


class RegularisationSettings(Settings):
    """A smoke run takes four steps."""

    steps: Annotated[int, Range(1, 1_000_000)] = 800
    """Optimiser steps of each net."""
    images: Annotated[int, Range(16, 60_000)] = 1_000
    """Of clothes to train on."""
    digits: Annotated[int, Range(16, 4_000)] = 300
    """To train on."""
    tests: Annotated[int, Range(16, 10_000)] = 4_000
    """Pictures to test on, where there are so many."""
    batch: Annotated[int, Range(1, 4_096)] = 50
    """Pictures in a batch."""
    width: Annotated[int, Range(1, 65_536)] = 512
    """Of each hidden layer."""
    channels: Annotated[int, Range(1, 512)] = 16
    """Of the first convolution; the second has twice as many."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 2e-3
    """Peak learning rate of Adam."""


class WideNet(nn.Module):
    """Two hidden layers, dropout behind each."""

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(196, width), nn.Linear(width, width)])
        self.head = nn.Linear(width, 10)
        self.dropout = Dropout(rate)

    def forward(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """A score for each class."""
        x = images.flatten(1)
        for layer in self.layers:
            x = self.dropout(layer(x).relu(), generator)
        return self.head(x)


class SmallConvNet(nn.Sequential):
    """Two convolutions, of which the second halves the picture, and two linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * channels * 9, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip


def run(settings: RegularisationSettings, lab: Lab) -> Measured:
    """Train the three pairs."""
    measured: Measured = {}
    for pair, helper in PAIRS.items():
        source = mnist if pair == "digits" else fashion_mnist
        count = settings.digits if pair == "digits" else settings.images
        train, test = (
            draw_pictures(part, size, lab.rng(name), halvings=1)
            for part, size, name in zip(
                source.load(), (count, settings.tests), ("train", "test"), strict=True
            )
        )
        for helped in (False, True):
            arm = f"{pair}-{helper}" if helped else pair
            net = learn(arm, helped and not lab.ablated(f"no_{helper}"), train, settings, lab)
            measured[f"{arm}/train_error"] = error_rate(net, *train)
            measured[f"{arm}/test_error"] = error_rate(net, *test)
    return measured


def learn(
    arm: str, helped: bool, train: tuple[Tensor, Tensor], settings: RegularisationSettings, lab: Lab
) -> nn.Module:
    """Train one net, with its help or without."""
    images, labels = train
    help_config = AugmentationConfig(
        padding=1 if arm.startswith("digits") else 0, flip=0.5 if arm.startswith("mirror") else 0.0
    )
    wide = arm.startswith("clothes")
    net: nn.Module = SmallConvNet(settings.channels)
    net = WideNet(settings.width, 0.5 if helped else 0.0) if wide else net
    start(net, lab.rng("weights"))
    net.to(lab.device)
    optimiser = Adam(net.parameters(), settings.rate)
    for step in lab.steps(arm, settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
        x, draws = images[chosen], lab.rng("draws", step)
        if helped and not wide:  # black, which surrounds every picture, is -1: 0 after adding 1
            x = augment(x + 1, help_config, draws) - 1
        loss = F.cross_entropy(net(x, draws) if wide else net(x), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    return net.eval()


def start(net: nn.Module, generator: Generator) -> None:
    """He's weights and no biases; the same for two nets of one shape."""
    for weight in net.parameters():
        if weight.ndim == 1:
            nn.init.zeros_(weight)
        else:
            he_normal_(weight, generator)


def draw(results: Sequence[Measured], settings: RegularisationSettings) -> dict[str, Figure]:
    """Both errors of the six nets, with intervals over the seeds."""
    figure, (axis,) = new_figure(7.6, 3.4)
    for shift, (colour, part) in enumerate(zip(COLOURS, ("train", "test"), strict=False)):
        mean, half = over_seeds(results, [f"{arm}/{part}_error" for arm in ARMS])
        places = [i + 0.4 * shift - 0.2 for i in range(len(ARMS))]
        axis.bar(places, mean, 0.4, yerr=half, color=colour, ecolor="#9aa0aa", label=part)
    axis.set_xticks(range(len(ARMS)), ARMS)
    axis.set(title="Error with and without", ylabel="share of pictures")
    axis.legend()
    return {"errors": figure}
