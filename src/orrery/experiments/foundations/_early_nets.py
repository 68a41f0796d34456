"""The house's AlexNet and VGG with few channels, for small pictures, and some of them changed."""

from typing import Literal

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from orrery.lab import Measured
from orrery.systems.foundations.alexnet import AlexNet, AlexNetConfig
from orrery.systems.foundations.initialisation import he_normal_, xavier_normal_
from orrery.systems.foundations.vgg import Vgg, VggConfig

Bend = Literal["relu", "tanh"]
VGGS = {  # convolutions a stage, and the side of their kernels
    "vgg-8": ((1, 1, 1, 1, 1), 3), "vgg-13": ((2, 2, 2, 2, 2), 3),
    "vgg-5x5": ((1, 1, 1, 1, 1), 5), "vgg-16": ((2, 2, 3, 3, 3), 3),
}  # fmt: skip


def make(arm: str, bend: Bend, width: int, hidden: int) -> AlexNet | Vgg:
    """The net of an arm."""
    if arm in VGGS:
        convolutions, kernel = VGGS[arm]
        return Vgg(VggConfig(
            convolutions=convolutions, kernel=kernel, width=2 * width // 3,
            hidden=hidden, dropout=0.0, fields=1, channels=1, classes=10,
        ))  # fmt: skip
    return AlexNet(AlexNetConfig(
        widths=(width, 3 * width, 6 * width, 4 * width, 4 * width), hidden=hidden, activation=bend,
        dropout=0.0 if arm == "no-dropout" else 0.5, response_norm=arm != "no-response-norm",
        pool=2 if arm == "no-overlap" else 3, fields=1, channels=1, classes=10,
    ))  # fmt: skip


def start(net: nn.Module, bend: str, generator: Generator) -> None:
    """He's weights for ReLU, Xavier's for tanh, and no biases."""
    for weight in net.parameters():
        if weight.ndim == 1:
            nn.init.zeros_(weight)
        else:
            (he_normal_ if bend == "relu" else xavier_normal_)(weight, generator)


def weights(arm: str, net: AlexNet | Vgg) -> Measured:
    """How many the kernels have, in all and in the last stage of a VGG net."""
    kernels = [layer.weight.numel() for layer in net.features if isinstance(layer, nn.Conv2d)]
    found = {f"{arm}/weights": float(sum(kernels))}
    if arm in VGGS:
        convolutions, _ = VGGS[arm]
        found[f"{arm}/last_weights"] = float(sum(kernels[-convolutions[-1] :]))
    return found


def sized(arm: str, images: Tensor) -> Tensor:
    """Pictures as large as the net needs them."""
    if arm in VGGS:
        return F.pad(images, (2, 2, 2, 2), value=-1.0)
    return F.interpolate(images, size=63, mode="bilinear")
