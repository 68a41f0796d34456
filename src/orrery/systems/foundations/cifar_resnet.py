"""CIFAR-style residual nets, and the same nets without shortcuts.

Depth 6n + 2: a first 3x3 convolution, three stages of n blocks of two 3x3 convolutions each, of
width, 2 width and 4 width channels, with the image halved between stages, then the mean over the
image and one linear layer. Shortcuts have no parameters (option A: every second pixel, new channels
filled with zeros), so that the plain net has the very same weights: this is the paper's comparison.

Each block can be told which `Route` a gradient may take, or be taken out of a trained net, to see
what its two branches carry.

Source: He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2 (nets, option A); Veit, Wilber,
Belongie 2016, arXiv:1605.06431, sections 4.1 (lesions) and 5 (gradients of single paths).
Differs from the papers: one grey channel by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.resnet import initialise_convolutions

SYSTEM = System(
    stem="cifar_resnet", area="foundations", title="CIFAR-style residual and plain nets (6n + 2)",
    year=2015, papers=("arXiv:1512.03385", "arXiv:1605.06431"), builds_on=("resnet",), realises=(),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Logits = Float[Tensor, "b classes"]

Route = Literal["both", "branch", "shortcut", "removed"]
"""both: the block as it is; branch, shortcut: the same output, but gradients pass only through F,
only through the shortcut; removed: F is left out (a lesion)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CifarResNetConfig:
    """Depth 6n + 2 and the widths; `shortcut=False` gives the plain net."""

    depth: int = 20
    width: int = 16
    """Channels of the first stage."""
    channels: int = 1
    classes: int = 10
    shortcut: bool = True

    def __post_init__(self) -> None:
        if self.depth < 8 or self.depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2 with n at least 1, got {self.depth}")
        for name in ("width", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class CifarBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F two 3x3 convolutions; a plain net has relu(F(x))."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.stride, self.new_channels, self.shortcut = stride, outputs - inputs, shortcut
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Maps, route: Route = "both") -> NewMaps:
        """The maps after the block."""
        if route == "removed":
            return self.without_parameters(x)
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.shortcut:
            return F.relu(branch)
        shortcut = self.without_parameters(x)
        if route == "branch":
            shortcut = shortcut.detach()
        elif route == "shortcut":
            branch = branch.detach()
        return F.relu(shortcut + branch)

    def without_parameters(self, x: Maps) -> NewMaps:
        """Option A: x itself, or every second pixel of it and zeros for the new channels."""
        if self.stride == 1 and self.new_channels == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class CifarResNet(nn.Module):
    """Stem, three stages of n blocks, the mean over the image, one linear layer."""

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(config.channels, config.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        blocks, inputs = [], config.width
        for stage in range(3):
            outputs = config.width << stage
            for index in range((config.depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(CifarBlock(inputs, outputs, stride=stride, shortcut=config.shortcut))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.classify = nn.Linear(inputs, config.classes)
        initialise_convolutions(self)

    def forward(self, images: Images, routes: Sequence[Route] | None = None) -> Logits:
        """Logits; `routes` has one entry for each block, "both" where it is left out.

        Raises:
            ValueError: routes has another length than there are blocks.
        """
        routes = ["both"] * len(self.blocks) if routes is None else routes
        if len(routes) != len(self.blocks):
            raise ValueError(f"routes must have {len(self.blocks)} entries, got {len(routes)}")
        x = F.relu(self.norm(self.stem(images)))
        for block, route in zip(self.blocks, routes, strict=True):
            x = block(x, route)
        return self.classify(x.mean((2, 3)))
