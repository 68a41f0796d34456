"""Do learned features beat HOG?

The same linear classifier, a support vector machine, is given three descriptions of Fashion-MNIST's
pictures: histograms of oriented gradients, made by hand; what a convolutional net holds before its
last layer after it has learned the training pictures; and what the same net holds untrained. The
training set grows; the test pictures stay. The net's own last layer is tested, too.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from pydantic import field_validator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.error_rate import error_rate
from orrery.systems.foundations.hog import HogConfig, hog
from orrery.systems.foundations.optimisers import Adam
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("hog", "learned", "untrained")

CLAIMS = (
    Claim(
        "features-learned-beat",
        effect=lambda m: m["last/hog"] - m["last/learned"],
        text="learned from all training pictures, features err less than HOG under the same "
        "linear classifier",
    ),
    Finding(
        "with a hundred pictures to learn from it is the other way round",
        effect=lambda m: m["first/learned"] - m["first/hog"],
    ),
    Finding(
        "it is the learning: the same net, untrained, errs two in a hundred more",
        effect=lambda m: m["last/untrained"] - m["last/learned"],
        margin=0.02,
    ),
    Finding(
        "the net's own last layer does as well as a new classifier, to one in a hundred",
        effect=lambda m: 0.01 - abs(m["last/net"] - m["last/learned"]),
    ),
    Control(
        "HOG is a fair rival: with all training pictures it errs on less than one in six",
        effect=lambda m: 1 / 6 - m["last/hog"],
    ),
    Control(
        "more pictures help all descriptions",
        effect=lambda m: min(m[f"first/{arm}"] - m[f"last/{arm}"] for arm in ARMS),
    ),
)
ABLATIONS = ("untrained_features",)
SCALES = {
    "smoke": {"sizes": (40, 80), "steps": 3, "tests": 50},
    "tour": {"sizes": (100, 1_600), "steps": 300},
    "large": {"sizes": (100, 1_000, 10_000, 60_000), "steps": 10_000, "tests": 10_000},
}

Examples = tuple[Tensor, Tensor]  # pictures and their classes


class LearnedFeaturesSettings(Settings):
    """A smoke run has two tiny training sets."""

    sizes: tuple[Annotated[int, Range(20, 60_000)], ...] = (100, 1_000, 8_000)
    """Pictures to train on, growing."""
    tests: Annotated[int, Range(10, 10_000)] = 2_000
    """Pictures to test on."""
    steps: Annotated[int, Range(1, 1_000_000)] = 1_200
    """Optimiser steps of each net."""
    batch: Annotated[int, Range(1, 4_096)] = 50
    """Pictures in a batch."""
    channels: Annotated[int, Range(1, 512)] = 16
    """Of the first convolution; the second has twice as many."""
    features: Annotated[int, Range(1, 65_536)] = 128
    """Numbers before the last layer."""

    @field_validator("sizes")
    @classmethod
    def _grow(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
            raise ValueError("must be two sizes or more that grow")
        return sizes


class FeatureNet(nn.Module):
    """Two convolutions and a hidden layer, whose units are the features."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * channels * 49, features), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(features, 10)

    def forward(self, images: Tensor) -> Tensor:
        """A score for each class."""
        return self.head(self.body(images))


def run(settings: LearnedFeaturesSettings, lab: Lab) -> Measured:
    """Describe, classify and test, for every size of the training set."""
    (images, labels), test = (
        draw_pictures(part, count, lab.rng(name))
        for part, count, name in zip(
            fashion_mnist.load(), (settings.sizes[-1], settings.tests), ("train", "test"),
            strict=True,
        )
    )  # fmt: skip
    measured: Measured = {}
    for size in settings.sizes:
        train = images[:size], labels[:size]
        torch.manual_seed(lab.rng("weights").initial_seed())
        net = FeatureNet(settings.channels, settings.features).to(lab.device)
        found = lab.measure(
            f"without-{size}",
            lambda train=train, net=net: {  # type: ignore[misc]
                "hog": svm_error([by_hand(x) for x in (train[0], test[0])], train[1], test[1]),
                "untrained": svm_error(described(net, train[0], test[0]), train[1], test[1]),
            },
        )
        if not lab.ablated("untrained_features"):
            teach(net, train, f"net-{size}", settings, lab)
        found |= lab.measure(
            f"with-{size}",
            lambda train=train, net=net: {  # type: ignore[misc]
                "learned": svm_error(described(net, train[0], test[0]), train[1], test[1]),
                "net": error_rate(net, *test),
            },
        )
        ends = {settings.sizes[0]: ["first"], settings.sizes[-1]: ["last"]}
        for name in (str(size), *ends.get(size, [])):
            measured |= {f"{name}/{arm}": value for arm, value in found.items()}
    return measured


def teach(
    net: FeatureNet, train: Examples, name: str, settings: LearnedFeaturesSettings, lab: Lab
) -> None:
    """Train the net to tell the classes apart."""
    images, labels = train
    optimiser = Adam(net.parameters(), 2e-3)
    for step in lab.steps(name, settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
        loss = F.cross_entropy(net(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)


def by_hand(images: Float[Tensor, "n 1 y x"]) -> Float[Tensor, "n features"]:
    """HOG with cells of 4 x 4 pixels, seven by seven of them: larger ones do worse."""
    return torch.cat([hog(x[:, 0], HogConfig(cell=4)) for x in images.split(500)])


@torch.no_grad()
def described(net: FeatureNet, *parts: Tensor) -> list[Tensor]:
    """What the net holds before its last layer."""
    return [torch.cat([net.body(x) for x in part.split(500)]) for part in parts]


def svm_error(descriptions: Sequence[Tensor], labels: Tensor, test_labels: Tensor) -> float:
    """Test error of a linear support vector machine on standardised features."""
    train, test = (part.cpu().double().numpy() for part in descriptions)
    svm = LinearSVC(C=1e-3, dual=True, max_iter=200, tol=1e-2, random_state=0)
    machine = make_pipeline(StandardScaler(), svm).fit(train, labels.cpu().numpy())
    return 1 - float(machine.score(test, test_labels.cpu().numpy()))


def draw(results: Sequence[Measured], settings: LearnedFeaturesSettings) -> dict[str, Figure]:
    """The test error by size of the training set, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.4, 3.6)
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        mean, half = over_seeds(results, [f"{size}/{arm}" for size in settings.sizes])
        axis.errorbar(settings.sizes, mean, half, fmt="o-", color=colour, capsize=3, label=arm)
    axis.set(title="Error of one classifier", xlabel="pictures to train on", xscale="log")
    axis.legend()
    return {"features": figure}
