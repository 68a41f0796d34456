"""Do plain networks get worse with depth, and do shortcuts undo it?

Plain and residual nets of growing depth learn the same Fashion-MNIST images, halved to 14 x 14
pixels. Two nets of one depth have the same number of weights, start from the same weights, see the
same batches and are normalised alike (batch norm after every convolution): only the shortcut
differs. Errors are taken on all the images trained on, and on others. Degradation is by how much
the training error of the deepest net is above that of the best shallower one.

The plan puts degradation down to vanishing gradients; the paper says that this is unlikely, since
batch norm keeps them alive, and a finding here looks at them. The plan says that eight layers were
the limit; tested is whether a deeper plain net trains.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import field_validator
from torch import Tensor

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.cifar_resnet import CifarResNet, CifarResNetConfig
from orrery.systems.foundations.optimisers import Momentum
from orrery.systems.foundations.residual_paths import layer_gradients
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("plain", "residual")
GUESSING = 0.9  # the error of guessing among ten classes

CLAIMS = (
    Finding(
        "shortcuts undo degradation: it costs plain nets a tenth of all images more",
        effect=lambda m: m["plain/degradation"] - m["residual/degradation"],
        margin=0.1,
    ),
    Claim(
        "degradation-cause",
        effect=lambda m: m["plain/degradation"],
        margin=0.02,
        text="the deepest plain net fits its own training images worse than a shallower one: "
        "degradation, not over-fitting",
    ),
    Claim(
        "depth-limit-8",
        effect=lambda m: GUESSING - m["plain/beyond_eight"],
        margin=0.6,
        text="eight layers were no limit: a deeper plain net trains far below guessing",
    ),
    Finding(
        "gradients of the deepest plain net do not vanish: untrained, they grow towards the input",
        effect=lambda m: m["plain/gradient_decades"],
    ),
    Control(
        "the shallowest nets learn: less than a third of the error of guessing",
        effect=lambda m: GUESSING / 3 - max(m[f"{arm}/shallowest"] for arm in ARMS),
    ),
    Control(
        "without depth there is nothing to undo: the shallowest pair is even to a twentieth",
        effect=lambda m: 0.05 - abs(m["plain/shallowest"] - m["residual/shallowest"]),
    ),
)
ABLATIONS = ("no_shortcut",)
SCALES = {
    "smoke": {"depths": (8, 14), "steps": 2, "images": 64, "batch": 8},
    "tour": {"depths": (8, 14, 32), "steps": 180, "images": 512},
    "large": {
        "depths": (8, 20, 32, 44, 56, 110), "steps": 20_000, "images": 60_000, "batch": 128,
        "width": 16, "rate": 0.1,
    },
}  # fmt: skip


class ResidualDepthSettings(Settings):
    """A smoke run trains two shallow pairs for a moment; a tour learns fewer images."""

    depths: tuple[Annotated[int, Range(8, 1_202)], ...] = (8, 20, 56)
    """Layers with weights: growing, each of the form 6n + 2."""
    steps: Annotated[int, Range(1, 1_000_000)] = 300
    """Optimiser steps of each net."""
    images: Annotated[int, Range(16, 60_000)] = 2_048
    """Images to train on, and at most as many others to test on."""
    batch: Annotated[int, Range(2, 4_096, "images")] = 64
    """Images in a batch."""
    width: Annotated[int, Range(1, 64, "channels")] = 8
    """Channels of the first stage."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.02
    """Highest learning rate."""

    @field_validator("depths")
    @classmethod
    def _grow(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if len(depths) < 2 or list(depths) != sorted(set(depths)):
            raise ValueError("must be two depths or more that grow")
        if any(depth % 6 != 2 for depth in depths):
            raise ValueError("a depth must be 8, 14, 20, ..., 6n + 2")
        return depths


Examples = tuple[Tensor, Tensor]  # images and their classes


def run(settings: ResidualDepthSettings, lab: Lab) -> Measured:
    """Train both arms at every depth."""
    parts = dict(zip(("train", "test"), fashion_mnist.load(), strict=True))
    train, test = (
        draw_pictures(part, settings.images, lab.rng(name), halvings=1)
        for name, part in parts.items()
    )
    measured: Measured = {}
    for arm in ARMS:
        for depth in settings.depths:
            found = learn(arm, depth, train, test, settings, lab)
            measured |= {f"{arm}-{depth}/{key}": value for key, value in found.items()}
        errors = {depth: measured[f"{arm}-{depth}/train_error"] for depth in settings.depths}
        *shallower, deepest = errors.values()
        measured[f"{arm}/shallowest"] = shallower[0]
        measured[f"{arm}/degradation"] = deepest - min(shallower)
        measured[f"{arm}/beyond_eight"] = min(e for depth, e in errors.items() if depth > 8)
        measured[f"{arm}/gradient_decades"] = found["gradient_decades"]
    return measured


def learn(
    arm: str, depth: int, train: Examples, test: Examples, settings: ResidualDepthSettings, lab: Lab
) -> Measured:
    """Train one net by the paper's rule: its gradients before, its errors after."""
    name, (images, labels) = f"{arm}-{depth}", train
    torch.manual_seed(lab.rng("weights", depth).initial_seed())  # both arms start alike
    shortcut = arm == "residual" and not lab.ablated("no_shortcut")
    net = CifarResNet(CifarResNetConfig(depth=depth, width=settings.width, shortcut=shortcut))
    net.to(lab.device)
    optimiser = Momentum(net.parameters(), settings.rate, weight_decay=1e-4)
    before = lab.measure(f"gradients-{name}", lambda: gradients(net, images[:128], labels[:128]))
    for step in lab.steps(name, settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
        loss = F.cross_entropy(net(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    net.eval()
    after = lab.measure(
        f"errors-{name}",
        lambda: {"train_error": error(net, *train), "test_error": error(net, *test)},
    )
    return before | after


def gradients(net: CifarResNet, images: Tensor, labels: Tensor) -> Measured:
    """Powers of ten by which the gradient grows on the way from the last block to the first."""
    _, *norms = layer_gradients(net, images, labels)  # the first layer reads the image itself
    return {"gradient_decades": math.log10(norms[0] / norms[-1])}


@torch.no_grad()
def error(net: CifarResNet, images: Tensor, labels: Tensor) -> float:
    """Share of the images that the net gets wrong."""
    classes = torch.cat([net(batch).argmax(1) for batch in images.split(256)])
    return float((classes != labels).float().mean())


def draw(results: Sequence[Measured], settings: ResidualDepthSettings) -> dict[str, Figure]:
    """Errors and growth of gradients by depth, with intervals over the seeds."""
    figure, (errors, growth) = new_figure(8.4, 3.4, columns=2)
    lines = (
        (errors, "train_error", "o-", "training"), (errors, "test_error", "o:", "test"),
        (growth, "gradient_decades", "o-", "untrained"),
    )  # fmt: skip
    for axis, quantity, style, words in lines:
        for arm, colour in zip(ARMS, COLOURS[1::-1], strict=True):
            keys = [f"{arm}-{depth}/{quantity}" for depth in settings.depths]
            mean, half = over_seeds(results, keys)
            axis.errorbar(
                settings.depths, mean, half, fmt=style, color=colour, capsize=3,
                label=f"{arm}, {words}",
            )  # fmt: skip
    errors.set(title="Error by depth", xlabel="layers", ylabel="share of images")
    errors.set_ylim(bottom=0)
    growth.set(title="Gradient by depth", xlabel="layers", ylabel="log10 (first / last block)")
    for axis in (errors, growth):
        axis.set_xticks(settings.depths)
        axis.legend()
    return {"depth": figure}
