"""ResNeXt: a bottleneck block whose 3x3 convolution is many narrow ones side by side.

The branch is a sum of C transforms of the same shape, F(x) = T_1(x) + ... + T_C(x). Each reduces x
to d channels, convolves them and expands them again. One grouped convolution between two full 1x1
ones computes all of them at once (the paper's figure 3, form c), and costs about what the plain
bottleneck costs. The state dict has torchvision's names and shapes, which are those of a ResNet.

Source: Xie, Girshick, Dollar, Tu, He 2017, "Aggregated Residual Transformations for Deep Neural
Networks", arXiv:1611.05431, equations 2 and 3, figure 3, tables 1 and 2.
Differs from the paper: nothing of the net; the stride is on the 3x3, as theirs is.

Symbols: C the cardinality, d the channels of one transform in the first stage.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.resnet import ResidualNet, projection

SYSTEM = System(
    stem="resnext", area="foundations", title="ResNeXt (50-32x4d, 101-32x8d)", year=2017,
    papers=("arXiv:1611.05431",), builds_on=("resnet",), realises=("resnext",),
)  # fmt: skip

Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNeXtConfig:
    """Cardinality and widths; the defaults are ResNeXt-50 (32x4d)."""

    cardinality: int = 32
    """C: transforms in a block."""
    transform: int = 4
    """d: channels of one transform in the first stage; each later stage has twice as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    """Channels of the stem; a block of the first stage gives four times as many."""
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if min(self.blocks) < 1:
            raise ValueError(f"blocks must be at least 1 in each stage, got {self.blocks}")
        for name in ("cardinality", "transform", "width", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def resnext50_32x4d() -> ResNeXtConfig:
    """50 layers with weights, 32 transforms of 4 channels."""
    return ResNeXtConfig()


def resnext101_32x8d() -> ResNeXtConfig:
    """101 layers with weights, 32 transforms of 8 channels."""
    return ResNeXtConfig(transform=8, blocks=(3, 4, 23, 3))


def resnext101_64x4d() -> ResNeXtConfig:
    """101 layers with weights, 64 transforms of 4 channels."""
    return ResNeXtConfig(cardinality=64, blocks=(3, 4, 23, 3))


class AggregatedBlock(nn.Module):
    """relu(shortcut(x) + the sum of C transforms), by one grouped convolution."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, inputs: int, width: int, stride: int = 1, *, cardinality: int, inner: int
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(
            inner, inner, 3, stride, padding=1, groups=cardinality, bias=False
        )  # fmt: skip
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Maps) -> NewMaps:
        """The maps after the block."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(self.downsample(x) + y)


class ResNeXt(ResidualNet):
    """A residual net of aggregated blocks."""

    def __init__(self, config: ResNeXtConfig) -> None:
        def block(inputs: int, width: int, stride: int) -> AggregatedBlock:
            inner = config.cardinality * config.transform * width // config.width
            return AggregatedBlock(
                inputs, width, stride, cardinality=config.cardinality, inner=inner
            )

        super().__init__(
            block, config.blocks, config.width, config.width * AggregatedBlock.expansion,
            config.channels, config.classes,
        )  # fmt: skip
        self.config = config
