"""Do gradients reach the bottom of a residual net by short paths or by long ones?

A deep residual net and its plain twin (same weights at the start, same batches) learn
Fashion-MNIST, halved to 14 x 14 pixels. Then one block at a time is taken out of each, and
gradients are sent through single paths of the residual net: the gradient that comes by way of k
branches is the number of such paths times that of one drawn at random.

The plan says that 2^(L-l) paths of different lengths let the gradient through. Counted alike they
would be half as long as the net is deep; tested is what Veit et al. found, that the gradient comes
by shorter ones.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import field_validator
from torch import Generator, Tensor

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.cifar_resnet import CifarResNet, CifarResNetConfig
from orrery.systems.foundations.optimisers import Momentum
from orrery.systems.foundations.residual_paths import (
    layer_gradients,
    path_gradients,
    removal_errors,
)
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("plain", "residual")

CLAIMS = (
    Claim(
        "residual-gradient-identity",
        effect=lambda m: 0.5 - m["residual/path_share"],
        text="the gradient comes by paths shorter than half of the net's depth",
    ),
    Finding(
        "the residual net loses a block at less cost than the plain net",
        effect=lambda m: m["plain/removal_cost"] - m["residual/removal_cost"],
    ),
    Control(
        "both nets learn: less than half of the error of guessing among ten classes",
        effect=lambda m: 0.45 - max(m["plain/error"], m["residual/error"]),
    ),
)
ABLATIONS = ("no_shortcut",)
SCALES = {
    "smoke": {"depth": 8, "steps": 2, "images": 64, "batch": 8, "probes": 8},
    "tour": {"steps": 130, "images": 512},
    "large": {"depth": 110, "steps": 20_000, "images": 60_000, "batch": 128, "width": 16},
}  # fmt: skip


class ResidualPathsSettings(Settings):
    """A smoke run trains a shallow pair for a moment; a tour learns fewer images."""

    depth: Annotated[int, Range(8, 302)] = 32
    """Layers with weights: 6n + 2."""
    steps: Annotated[int, Range(1, 1_000_000)] = 200
    """Optimiser steps of each net."""
    images: Annotated[int, Range(16, 60_000)] = 2_048
    """Images to train on."""
    batch: Annotated[int, Range(2, 4_096, "images")] = 64
    """Images in a batch."""
    width: Annotated[int, Range(1, 64, "channels")] = 8
    """Channels of the first stage."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.02
    """Highest learning rate."""
    probes: Annotated[int, Range(2, 10_000, "images")] = 256
    """Training images on which gradients are taken and blocks are missed."""

    @field_validator("depth")
    @classmethod
    def _six_n_plus_two(cls, depth: int) -> int:
        if depth % 6 != 2:
            raise ValueError("must be 8, 14, 20, ..., 6n + 2")
        return depth


def run(settings: ResidualPathsSettings, lab: Lab) -> Measured:
    """Train the pair and take both nets apart."""
    images, labels = draw_pictures(
        fashion_mnist.load()[0], settings.images, lab.rng("train"), halvings=1
    )
    probes = (images[: settings.probes], labels[: settings.probes])
    measured: Measured = {}
    layers: dict[str, list[float]] = {}
    for arm in ARMS:
        torch.manual_seed(lab.rng("weights").initial_seed())  # both arms start alike
        shortcut = arm == "residual" and not lab.ablated("no_shortcut")
        config = CifarResNetConfig(depth=settings.depth, width=settings.width, shortcut=shortcut)
        net = CifarResNet(config).to(lab.device)
        layers[f"{arm}, untrained"] = layer_gradients(net, *probes)
        optimiser = Momentum(net.parameters(), settings.rate, weight_decay=1e-4)
        for step in lab.steps(arm, settings.steps, state=(net, optimiser)):
            chosen = sample_batch(len(images), settings.batch, lab.rng("batch", step))
            loss = F.cross_entropy(net(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
            optimiser.step()
            lab.log(loss=loss)
        layers[f"{arm}, trained"] = layer_gradients(net, *probes)
        found = take_apart(net.eval(), *probes, lab.rng("paths"))
        measured |= {f"{arm}/{key}": value for key, value in found.items()}
    lab.figure("gradient-by-layer", layers_figure(layers))
    return measured


def take_apart(net: CifarResNet, images: Tensor, labels: Tensor, generator: Generator) -> Measured:
    """The net's error, without each block too, and the share of the gradient by path length."""
    with torch.no_grad():
        whole = float((net(images).argmax(1) != labels).float().mean())
    without = removal_errors(net, images, labels)
    gradients = path_gradients(net, images, labels, generator)
    share = [size / sum(gradients) for size in gradients]
    return {
        "error": whole,
        "removal_cost": sum(without) / len(without) - whole,
        "path_share": sum(k * part for k, part in enumerate(share)) / len(without),
        **{f"without-{block}": value for block, value in enumerate(without)},
        **{f"through-{branches}": part for branches, part in enumerate(share)},
    }


def layers_figure(layers: dict[str, list[float]]) -> Figure:
    """The gradient of each convolution before and after training."""
    figure, (axis,) = new_figure(7.2, 3.2)
    for i, (name, norms) in enumerate(layers.items()):
        style = ":" if name.endswith("untrained") else "-"
        axis.semilogy(range(1, len(norms) + 1), norms, style, color=COLOURS[1 - i // 2], label=name)
    axis.set(title="Gradient by layer", xlabel="convolution, from the image up", ylabel="norm")
    axis.legend()
    return figure


def draw(results: Sequence[Measured], settings: ResidualPathsSettings) -> dict[str, Figure]:
    """The error without each block, and the gradient by length of path."""
    figure, (removal, paths) = new_figure(8.4, 3.4, columns=2)
    blocks = (settings.depth - 2) // 2
    bars = (
        (removal, "plain/without", range(blocks), COLOURS[1]),
        (removal, "residual/without", range(blocks), COLOURS[0]),
        (paths, "residual/through", range(blocks + 1), COLOURS[0]),
    )
    for axis, quantity, places, colour in bars:
        mean, half = over_seeds(results, [f"{quantity}-{i}" for i in places])
        axis.bar(places, mean, yerr=half, color=colour, ecolor="#9aa0aa",
                 label=quantity.split("/")[0])  # fmt: skip
    removal.set(title="One block removed", xlabel="block", ylabel="error")
    removal.legend()
    paths.set(title="Gradient by length of path", xlabel="branches on the path", ylabel="share")
    paths.axvline(blocks / 2, color=COLOURS[7], linestyle="--")
    paths.annotate("mean length of all paths", (blocks / 2, 1), (4, -4), va="top",
                   xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    return {"taken-apart": figure}
