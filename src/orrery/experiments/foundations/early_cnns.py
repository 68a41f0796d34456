"""What does each ingredient of AlexNet bring on small pictures, and do VGG's small filters help?

The house's AlexNet, with few channels, learns clothes that are enlarged to 63 x 63 pixels, the
smallest that its strides leave something of. It is trained with ReLU and with tanh (each with its
own initialisation), at three rates each; then with ReLU at the rate that errs least on pictures
held out, with one ingredient missing at a time. The house's VGG, with few channels too, learns the
same clothes, framed to 32 x 32, at the lowest of the rates: with one 3x3 convolution a stage, with
two, with a single 5x5 in place of each two, which is what the paper compares, and with 16 layers.
Since filters are compared and not dropout, it goes without.

The AlexNet paper says that tanh takes several times as long to train. Tested is that ReLU ends,
after as many steps, at a lower training loss. Pictures are few, so that there is over-fitting, and
training is short: what an ingredient brings in the end, to a large net, is another question.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.experiments.foundations._early_nets import VGGS, Bend, make, sized, start, weights
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.error_rate import error_rate
from orrery.systems.foundations.augmentation import AugmentationConfig, augment
from orrery.systems.foundations.optimisers import Adam
from orrery.train.schedule import scale_rates, trapezoid
from orrery.train.side_by_side import SideBySide

RATES = (1e-3, 3e-3, 1e-2)
MISSING = ("dropout", "augmentation", "response-norm", "overlap")
RACERS = ("relu", "tanh")
ARMS = (*RACERS, *(f"no-{part}" for part in MISSING), *VGGS)
GUESSING = math.log(10)


def brings(m: Measured, part: str) -> float:
    """By how much the test error is lower with an ingredient than without."""
    return m[f"no-{part}/test_error"] - m["relu/test_error"]


CLAIMS = (
    Finding(
        "ReLU trains AlexNet faster than tanh: a lower training loss at the end, each at its best "
        "rate",
        effect=lambda m: m["tanh/loss"] - m["relu/loss"],
    ),
    Finding(
        "with ReLU its test error is lower than with tanh",
        effect=lambda m: m["tanh/test_error"] - m["relu/test_error"],
    ),
    Finding("dropout lowers its test error", effect=lambda m: brings(m, "dropout")),
    Finding(
        "crops and mirror images lower its test error", effect=lambda m: brings(m, "augmentation")
    ),
    Finding(
        "response normalisation lowers its test error", effect=lambda m: brings(m, "response-norm")
    ),
    Finding("pooling with overlap lowers its test error", effect=lambda m: brings(m, "overlap")),
    Finding(
        "VGG errs less with two 3x3 convolutions in a row than with one 5x5 in their place",
        effect=lambda m: m["vgg-5x5/test_error"] - m["vgg-13/test_error"],
    ),
    Finding(
        "VGG trains at 8, 13 and 16 layers with no skip: under half the loss of guessing",
        effect=lambda m: GUESSING / 2 - max(m[f"vgg-{n}/loss"] for n in (8, 13, 16)),
    ),
    Control(
        "AlexNet learns with both activations, and VGG with 8 layers: less than half of the error "
        "of guessing",
        effect=lambda m: 0.45 - max(m[f"{arm}/test_error"] for arm in (*RACERS, "vgg-8")),
    ),
    Control(
        "the highest rate is too high for both activations",
        effect=lambda m: min(m[f"{arm}/loss-2"] - m[f"{arm}/loss"] for arm in RACERS),
    ),
    Control(
        "there is over-fitting to lower: without dropout one in twenty more of the test pictures "
        "is wrong than of the training pictures",
        effect=lambda m: m["no-dropout/test_error"] - m["no-dropout/train_error"],
        margin=0.05,
    ),
    Control(
        "two 3x3 have 18/25 of the weights of a 5x5, where channels stay as many",
        effect=lambda m: 1e-9 - abs(m["vgg-13/last_weights"] / m["vgg-5x5/last_weights"] - 0.72),
    ),
)
ABLATIONS = ("tanh_for_relu",)
SCALES = {
    "smoke": {"steps": 2, "images": 32, "held_out": 32, "tests": 32, "batch": 8},
    "tour": {"steps": 150, "tests": 1_000},
    "large": {"steps": 10_000, "images": 50_000, "held_out": 10_000, "tests": 10_000, "width": 64},
}


class EarlyCnnsSettings(Settings):
    """A smoke run takes two steps."""

    steps: Annotated[int, Range(1, 1_000_000)] = 250
    """Optimiser steps of each net."""
    images: Annotated[int, Range(16, 50_000)] = 500
    """Pictures to train on."""
    held_out: Annotated[int, Range(16, 10_000)] = 500
    """Other pictures, which the rate is chosen on."""
    tests: Annotated[int, Range(16, 10_000)] = 2_000
    """Pictures to test on."""
    batch: Annotated[int, Range(1, 4_096)] = 32
    """Pictures in a batch."""
    width: Annotated[int, Range(4, 256, "channels")] = 12
    """Of AlexNet's first convolution; VGG's first has two thirds as many."""
    hidden: Annotated[int, Range(1, 4_096)] = 256
    """Units of the hidden dense layers."""


def run(settings: EarlyCnnsSettings, lab: Lab) -> Measured:
    """Train both AlexNets, those with something missing, and the VGG nets."""
    count = settings.images
    images, labels = draw_pictures(
        fashion_mnist.load()[0], count + settings.held_out, lab.rng("train")
    )
    train, held_out = (images[:count], labels[:count]), (images[count:], labels[count:])
    test = draw_pictures(fashion_mnist.load()[1], settings.tests, lab.rng("test"))
    measured: Measured = {}
    chosen = RATES[0]
    for arm in ARMS:
        tanh = arm == "tanh" or (lab.ablated("tanh_for_relu") and arm not in VGGS)
        bend: Bend = "tanh" if tanh else "relu"
        net = make(arm, bend, settings.width, settings.hidden)
        start(net, bend, lab.rng("weights"))
        rates = RATES if arm in RACERS else (RATES[0] if arm in VGGS else chosen,)
        copies = learn(arm, net.to(lab.device), rates, train, settings, lab).eval()
        wrong = [error(arm, copy, held_out) for copy in copies.models]
        best = wrong.index(min(wrong))
        if arm == "relu":
            chosen = rates[best]
        losses = copies.losses[-max(1, settings.steps // 6) :].mean(0).tolist()
        measured |= {f"{arm}/held_out_error-{i}": found for i, found in enumerate(wrong)}
        measured |= {f"{arm}/loss-{i}": loss for i, loss in enumerate(losses)}
        measured |= weights(arm, net) | {
            f"{arm}/loss": min(losses),
            f"{arm}/train_error": error(arm, copies.models[best], train),
            f"{arm}/test_error": error(arm, copies.models[best], test),
        }
    return measured


def learn(
    arm: str, net: nn.Module, rates: Sequence[float], train: tuple[Tensor, Tensor],
    settings: EarlyCnnsSettings, lab: Lab,
) -> SideBySide:  # fmt: skip
    """Train one net at all rates; the arms see the same pictures."""
    images, labels = train
    copies = SideBySide(net, F.cross_entropy, rates, steps=settings.steps, lost=20.0)
    optimiser = Adam(copies.groups(), rates[0])
    for step in lab.steps(arm, settings.steps, state=(copies, optimiser)):
        chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
        x = images[chosen]
        if (
            arm != "no-augmentation"
        ):  # black, which surrounds every picture, is -1: 0 after adding 1
            x = augment(x + 1, AugmentationConfig(), lab.rng("draws", step)) - 1
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        torch.manual_seed(lab.rng("masks", step).initial_seed())  # dropout alike in all arms
        losses = copies.train_step(step, sized(arm, x), labels[chosen], optimiser)
        lab.log(lowest=losses.min())
    return copies


def error(arm: str, net: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Share of the pictures that it gets wrong."""
    return error_rate(net, sized(arm, part[0]), part[1])


def draw(results: Sequence[Measured], settings: EarlyCnnsSettings) -> dict[str, Figure]:
    """The errors of all arms, and the training loss by rate."""
    figure, (errors, losses) = new_figure(8.8, 3.8, columns=2)
    for shift, (colour, part) in enumerate(zip(COLOURS, ("train", "test"), strict=False)):
        mean, half = over_seeds(results, [f"{arm}/{part}_error" for arm in ARMS])
        places = [i + 0.4 * shift - 0.2 for i in range(len(ARMS))]
        errors.barh(places, mean, 0.4, xerr=half, color=colour, ecolor="#9aa0aa", label=part)
    errors.set_yticks(range(len(ARMS)), ARMS)
    errors.invert_yaxis()
    errors.set(title="Error", xlabel="share of pictures")
    errors.legend()
    for colour, arm in zip(COLOURS, RACERS, strict=False):
        mean, half = over_seeds(results, [f"{arm}/loss-{i}" for i in range(len(RATES))])
        losses.errorbar(RATES, mean, half, fmt="o-", color=colour, capsize=3, label=arm)
    losses.set(title="AlexNet's training loss", xlabel="rate", ylabel="nats", xscale="log")
    losses.legend()
    return {"ingredients": figure}
