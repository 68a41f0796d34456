"""Does a net of a thousand layers train, and does it generalise better than one of a hundred?

Two residual nets with norms before their convolutions, of 998 and of 110 layers and equally narrow,
learn the same Fashion-MNIST images, halved to 14 x 14 pixels, from the same batches. Errors are
taken on the images trained on and on as many others. In the ablation the deep net has no shortcuts.

The plan says that a thousand layers can be trained, so that depth is no bottleneck any more, and
that there is a guarantee for unlimited depth. Tested is whether the deep net trains at all, and
whether the depth that was won is worth something: a lower error on new images.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import field_validator
from torch import Tensor, nn

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.error_rate import error_rate
from orrery.systems.foundations.optimisers import Momentum
from orrery.systems.foundations.resnet_1000 import DeepResNet, DeepResNetConfig
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("hundred", "thousand")
GUESSING = 0.9  # the error of guessing among ten classes

CLAIMS = (
    Claim(
        "resnet-1000-works",
        effect=lambda m: GUESSING - m["thousand/train_error"],
        margin=0.2,
        text="a residual net of a thousand layers trains: on its own images it errs a fifth of all "
        "images less than guessing",
    ),
    Claim(
        "resnet-theory-guarantee",
        effect=lambda m: m["hundred/test_error"] - m["thousand/test_error"],
        text="depth keeps paying: a thousand layers err less on new images than a hundred",
    ),
    Finding(
        "after as many steps the deep net also fits the images trained on worse",
        effect=lambda m: m["thousand/train_error"] - m["hundred/train_error"],
    ),
    Control(
        "the net of a hundred layers learns: a quarter of all images less than guessing",
        effect=lambda m: GUESSING - m["hundred/train_error"],
        margin=0.25,
    ),
)
ABLATIONS = ("no_shortcut",)
SCALES = {
    "smoke": {"hundred": 14, "thousand": 26, "steps": 2, "images": 32, "batch": 4},
    "large": {
        "thousand": 1_202, "steps": 20_000, "images": 60_000, "batch": 128, "width": 16,
    },
}  # fmt: skip

Examples = tuple[Tensor, Tensor]  # images and their classes


class VeryDeepSettings(Settings):
    """A smoke run trains two shallow nets for a moment."""

    hundred: Annotated[int, Range(8, 302)] = 110
    """Layers with weights of the shallower net: 6n + 2."""
    thousand: Annotated[int, Range(8, 2_000)] = 998
    """Layers with weights of the deep net: 6n + 2."""
    steps: Annotated[int, Range(1, 1_000_000)] = 110
    """Optimiser steps of each net."""
    images: Annotated[int, Range(16, 60_000)] = 512
    """Images to train on, and at most as many others to test on."""
    batch: Annotated[int, Range(2, 4_096, "images")] = 32
    """Images in a batch."""
    width: Annotated[int, Range(1, 64, "channels")] = 4
    """Channels of the first stage."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.1
    """Highest learning rate."""

    @field_validator("hundred", "thousand")
    @classmethod
    def _six_n_plus_two(cls, depth: int) -> int:
        if depth % 6 != 2:
            raise ValueError("must be 8, 14, 20, ..., 6n + 2")
        return depth


def run(settings: VeryDeepSettings, lab: Lab) -> Measured:
    """Train both nets on the same batches; count what they get wrong."""
    parts = dict(zip(("train", "test"), fashion_mnist.load(), strict=True))
    train, test = (
        draw_pictures(part, settings.images, lab.rng(name), halvings=1)
        for name, part in parts.items()
    )
    measured: Measured = {}
    for arm in ARMS:
        found = learn(arm, train, test, settings, lab)
        measured |= {f"{arm}/{key}": value for key, value in found.items()}
    return measured


def learn(
    arm: str, train: Examples, test: Examples, settings: VeryDeepSettings, lab: Lab
) -> Measured:
    """Train one net; count what it gets wrong."""
    plain = arm == "thousand" and lab.ablated("no_shortcut")
    torch.manual_seed(lab.rng("weights").initial_seed())
    config = DeepResNetConfig(
        block="basic", depth=getattr(settings, arm), width=settings.width, shortcut=not plain,
        forget=lab.device.type != "cpu",  # a narrow net fits there as it is
    )  # fmt: skip
    # Without shortcuts gradients grow with every layer, beyond what single precision can hold:
    # that net gets double precision, and its gradients are clipped.
    dtype = torch.float64 if plain else torch.float32
    net = DeepResNet(config).to(lab.device, dtype)
    images, labels = train[0].to(dtype), train[1]
    optimiser = Momentum(net.parameters(), settings.rate, weight_decay=1e-4)
    for step in lab.steps(arm, settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
        loss = F.cross_entropy(net(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        if plain:
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        scale_rates(optimiser, trapezoid(step, settings.steps, warmup=5, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    net.eval()
    return lab.measure(
        f"errors-{arm}",
        lambda: {
            "train_error": error_rate(net, images, labels),
            "test_error": error_rate(net, test[0].to(dtype), test[1]),
        },
    )


def draw(results: Sequence[Measured], settings: VeryDeepSettings) -> dict[str, Figure]:
    """The errors of both nets, with intervals over the seeds."""
    figure, (axis,) = new_figure(5.2, 3.2)
    for place, part in enumerate(("train", "test")):
        mean, half = over_seeds(results, [f"{arm}/{part}_error" for arm in ARMS])
        where = [i + 0.36 * (place - 0.5) for i in range(len(ARMS))]
        axis.bar(where, mean, 0.34, yerr=half, color=COLOURS[place], ecolor="#9aa0aa", label=part)
    axis.axhline(GUESSING, color=COLOURS[7], linestyle="--")
    axis.set_xticks(range(len(ARMS)), [f"{getattr(settings, arm)} layers" for arm in ARMS])
    axis.set(title="A thousand layers and a hundred", ylabel="error")
    axis.legend()
    return {"errors": figure}
