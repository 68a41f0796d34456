"""LeNet-5: convolutions and pooling, twice, before dense layers; it read cheques for a living.

The form of 1998 has pooling with a weight and a bias for each map, a third layer whose maps each
see only some of those before, a scaled tanh, and an output that measures the distance to a fixed
code for each class. The form that is taught today (`modern`) connects everything, averages without
weights and ends in a linear layer.

Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document
Recognition", doi:10.1109/5.726791, section II.B, table I, equations 5 to 8.
Differs from the paper: the codes of the classes are rows of a Hadamard matrix, where the paper
draws the ten digits in 7 x 12 pixels; the score is minus their distance; the tanh follows every
layer but the last.

Symbols: C1, S2, C3, S4, C5, F6 the paper's names of the layers.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="lenet", area="foundations", title="LeNet-5", year=1998,
    papers=("doi:10.1109/5.726791",), builds_on=(), realises=(),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
Halved = Float[Tensor, "b channels _ _"]
NewMaps = Float[Tensor, "b 16 _ _"]
Logits = Float[Tensor, "b classes"]

TABLE_I: tuple[tuple[int, ...], ...] = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4),
    (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5),
    (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Which maps of S2 each map of C3 sees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeNetConfig:
    """The form, and what it reads: images of 32 x 32 pixels, or 28 x 28 with `padding` 2."""

    form: Literal["paper", "modern"] = "paper"
    padding: int = 0
    """Pixels added on each side."""
    channels: int = 1
    classes: int = 10

    def __post_init__(self) -> None:
        if self.form not in ("paper", "modern"):
            raise ValueError(f"form must be 'paper' or 'modern', got {self.form!r}")
        if self.padding < 0:
            raise ValueError(f"padding must be at least 0, got {self.padding}")
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if not 1 <= self.classes <= 128:
            raise ValueError(f"classes must be from 1 to 128, got {self.classes}")


def squash(x: Tensor) -> Tensor:
    """A tanh that passes through -1 and 1, where its curvature is greatest (equation 6)."""
    return 1.7159 * torch.tanh(2 / 3 * x)


class Subsampling(nn.Module):
    """The mean over 2 x 2 pixels, times a weight, plus a bias, for each map."""

    def __init__(self, maps: int, *, weighted: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(maps)) if weighted else None
        self.bias = nn.Parameter(torch.zeros(maps)) if weighted else None

    def forward(self, x: Maps) -> Halved:
        """Maps of half the height and width."""
        x = F.avg_pool2d(x, 2)
        if self.weight is None or self.bias is None:
            return x
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConvolution(nn.Module):
    """A 5x5 convolution in which each map sees the maps that table I allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(len(seen), 1, 5) for seen in TABLE_I)

    def forward(self, x: Maps) -> NewMaps:
        """Sixteen maps."""
        return torch.cat(
            [one(x[:, list(seen)]) for one, seen in zip(self.maps, TABLE_I, strict=True)], dim=1
        )


def class_codes(classes: int, like: Tensor) -> Float[Tensor, "classes 84"]:
    """A code of 84 numbers, -1 or 1, for each class; any two differ in about half of them."""
    matrix = like.new_ones(1, 1)
    while len(matrix) < 128:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix[:classes, 1:85]


class LeNet(nn.Module):
    """C1, S2, C3, S4, C5, F6 and the output."""

    def __init__(self, config: LeNetConfig) -> None:
        super().__init__()
        self.config = config
        paper = config.form == "paper"
        self.c1 = nn.Conv2d(config.channels, 6, 5, padding=config.padding)
        self.s2 = Subsampling(6, weighted=paper)
        self.c3 = PartialConvolution() if paper else nn.Conv2d(6, 16, 5)
        self.s4 = Subsampling(16, weighted=paper)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = None if paper else nn.Linear(84, config.classes)

    def forward(self, images: Images) -> Logits:
        """A score for each class.

        Raises:
            ValueError: an image, padding included, is not 32 x 32 pixels.
        """
        sides = tuple(side + 2 * self.config.padding for side in images.shape[2:])
        if sides != (32, 32):
            raise ValueError(f"images, padding included, must be 32 x 32 pixels, got {sides}")
        x = squash(self.s2(squash(self.c1(images))))
        x = squash(self.s4(squash(self.c3(x))))
        x = squash(self.f6(squash(self.c5(x)).flatten(1)))
        if self.output is not None:
            return self.output(x)
        codes = class_codes(self.config.classes, x)
        return -(x[:, None] - codes).square().sum(2)  # equation 7
