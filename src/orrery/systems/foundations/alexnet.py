"""AlexNet: five convolutions and three dense layers, rectified, with dropout.

Two forms. `alexnet` has the layout in which weights are published (torchvision's, after "One weird
trick"), so `load_state_dict` takes them as they are. `alexnet_2012` is the net of the 2012 paper:
the second, fourth and fifth convolution see only the half of the maps that lies on their own GPU
(groups=2), and the first two are followed by response normalisation. Its two halves run on two
devices in `model_parallel`.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", sections 3 to 5; Krizhevsky 2014, "One weird trick for parallelizing convolutional neural
networks", arXiv:1404.5997, for the widths of `alexnet`.
Differs from the papers: images of 224 pixels are padded by two, so that 55 x 55 maps come out of
the first convolution; the average over 6 x 6 fields before the dense layers (torchvision's) changes
nothing at that size and lets other sizes in; dropout stands before the first two dense layers, as
in torchvision, where the paper has it after them; weights start as PyTorch's defaults do.

Symbols: a an activation, n neighbouring maps, k, alpha, beta the constants of section 3.3.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="alexnet", area="foundations", title="AlexNet (one tower, and two of 2012)", year=2012,
    papers=("Krizhevsky, Sutskever, Hinton 2012", "arXiv:1404.5997"), builds_on=(),
    realises=("alexnet",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
Logits = Float[Tensor, "b classes"]


BENDS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNetConfig:
    """Widths, and which of the paper's ingredients are in."""

    widths: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)
    """Maps that come out of each convolution."""
    groups: int = 1
    """Parts into which the second, fourth and fifth convolution fall: two GPUs in 2012."""
    response_norm: bool = False
    """Normalise the first two layers across neighbouring maps (section 3.3)."""
    pool: int = 3
    """Side of a pooling window; the stride is 2, so that windows of 3 overlap (section 3.4)."""
    fields: int = 6
    """Side of what the dense layers see of each map."""
    hidden: int = 4096
    """Units of the two hidden dense layers."""
    activation: Literal["relu", "tanh"] = "relu"
    """What bends: tanh is what the paper compares with (section 3.1)."""
    dropout: float = 0.5
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        for name in ("groups", "fields", "hidden", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.widths) < 1 or any(width % self.groups for width in self.widths):
            raise ValueError(
                f"widths must be positive multiples of groups={self.groups}, got {self.widths}"
            )
        if self.pool not in (2, 3):
            raise ValueError(f"pool must be 2 or 3, got {self.pool}")
        if self.activation not in BENDS:
            raise ValueError(f"activation must be one of {list(BENDS)}, got {self.activation!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def alexnet() -> AlexNetConfig:
    """The published weights' form: one tower, no response normalisation."""
    return AlexNetConfig()


def alexnet_2012() -> AlexNetConfig:
    """The net of the 2012 paper, over two GPUs."""
    return AlexNetConfig(widths=(96, 256, 384, 384, 256), groups=2, response_norm=True)


class ResponseNorm(nn.Module):
    """Divide each activation by what its neighbours in the order of the maps do (section 3.3).

    b = a / (k + alpha * the sum of squares over n neighbouring maps)^beta, each map's own among
    them. Neighbours lie in the same group: GPUs talk in no other place than section 3.2 says.
    """

    def __init__(self, groups: int = 1, *, n: int = 5, k: float = 2.0, alpha: float = 1e-4,
                 beta: float = 0.75) -> None:  # fmt: skip
        super().__init__()
        self.groups, self.n, self.k, self.alpha, self.beta = groups, n, k, alpha, beta

    def forward(self, a: Maps) -> Maps:
        """The normalised maps."""
        squares = a.square().unflatten(1, (self.groups, -1))  # b groups maps rows columns
        before = (self.n - 1) // 2
        padded = F.pad(squares, (0, 0, 0, 0, before, self.n - 1 - before))
        maps = squares.shape[2]
        total = torch.zeros_like(squares)
        for shift in range(self.n):
            total = total + padded[:, :, shift : shift + maps]
        return a / (self.k + self.alpha * total).flatten(1, 2) ** self.beta


class AlexNet(nn.Module):
    """Convolutions, then dense layers; the numbers in `features` are torchvision's."""

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(*convolutions(config))
        bend = BENDS[config.activation]
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.fields**2 * config.widths[-1], config.hidden),
            bend(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            bend(),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        maps = F.adaptive_avg_pool2d(self.features(images), self.config.fields)
        return self.classifier(maps.flatten(1))


def convolutions(config: AlexNetConfig) -> list[nn.Module]:
    """Five convolutions, each rectified; pooling after the first, second and fifth."""
    one, two, three, four, five = config.widths
    groups, bend = config.groups, BENDS[config.activation]

    def pool() -> nn.Module:
        return nn.MaxPool2d(config.pool, stride=2)

    def rectify() -> nn.Module:
        bent = bend()
        return nn.Sequential(bent, ResponseNorm(groups)) if config.response_norm else bent

    return [
        nn.Conv2d(config.channels, one, 11, stride=4, padding=2), rectify(), pool(),
        nn.Conv2d(one, two, 5, padding=2, groups=groups), rectify(), pool(),
        nn.Conv2d(two, three, 3, padding=1), bend(),  # the one that sees both halves
        nn.Conv2d(three, four, 3, padding=1, groups=groups), bend(),
        nn.Conv2d(four, five, 3, padding=1, groups=groups), bend(), pool(),
    ]  # fmt: skip
