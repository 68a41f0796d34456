"""ResNet: blocks that add what they learn to what they were given.

A block computes relu(shortcut(x) + F(x)), where F is two 3x3 convolutions (basic) or a 1x1-3x3-1x1
sandwich that works on a quarter of the channels (bottleneck). The state dict has the names and
shapes of the layout in which the official ImageNet weights are published (torchvision's), so
`load_state_dict` takes them as they are; `from_huggingface` renames the other public layout.

Source: He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition",
arXiv:1512.03385, sections 3.3 and 4.1, table 1, figure 5.
Differs from the paper: in a bottleneck that halves the image the stride is on the 3x3 convolution,
as in the published weights ("v1.5"); the paper has it on the first 1x1. Shortcuts that change shape
are projections (the paper's option B).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.small_maps import SmallMapConv

SYSTEM = System(
    stem="resnet", area="foundations", title="ResNet (18, 34, 50, 101, 152)", year=2015,
    papers=("arXiv:1512.03385",), builds_on=(), realises=("resnet", "bottleneck-block"),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Logits = Float[Tensor, "b classes"]
BlockMaker = Callable[[int, int, int], nn.Module]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetConfig:
    """The kind of block, how many of them each stage has, and the widths."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    width: int = 64
    """Channels inside the blocks of the first stage; each later stage has twice as many."""
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if self.block not in ("basic", "bottleneck"):
            raise ValueError(f"block must be 'basic' or 'bottleneck', got {self.block!r}")
        if min(self.blocks) < 1:
            raise ValueError(f"blocks must be at least 1 in each stage, got {self.blocks}")
        for name in ("width", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def resnet18() -> ResNetConfig:
    """18 layers with weights."""
    return ResNetConfig(block="basic", blocks=(2, 2, 2, 2))


def resnet34() -> ResNetConfig:
    """34 layers with weights."""
    return ResNetConfig(block="basic", blocks=(3, 4, 6, 3))


def resnet50() -> ResNetConfig:
    """50 layers with weights."""
    return ResNetConfig(block="bottleneck", blocks=(3, 4, 6, 3))


def resnet101() -> ResNetConfig:
    """101 layers with weights."""
    return ResNetConfig(block="bottleneck", blocks=(3, 4, 23, 3))


def resnet152() -> ResNetConfig:
    """152 layers with weights."""
    return ResNetConfig(block="bottleneck", blocks=(3, 8, 36, 3))


class BasicBlock(nn.Module):
    """F is 3x3, 3x3; `width` channels come out."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = SmallMapConv(inputs, width, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = SmallMapConv(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(inputs, width, stride)

    def branch(self, x: Maps) -> NewMaps:
        """F(x)."""
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x: Maps) -> NewMaps:
        """The maps after the block."""
        return F.relu(self.downsample(x) + self.branch(x))


class BottleneckBlock(nn.Module):
    """F is 1x1, 3x3, 1x1: the costly 3x3 sees `width` channels, four times as many come out."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = projection(inputs, outputs, stride)

    def branch(self, x: Maps) -> NewMaps:
        """F(x)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y))

    def forward(self, x: Maps) -> NewMaps:
        """The maps after the block."""
        return F.relu(self.downsample(x) + self.branch(x))


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The shortcut: the identity, or a 1x1 convolution where the shape changes (option B)."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResidualNet(nn.Module):
    """Stem, four stages of blocks, the mean over the image, one linear layer."""

    def __init__(
        self, block: BlockMaker, blocks: Sequence[int], width: int, outputs: int, channels: int,
        classes: int,
    ) -> None:  # fmt: skip
        """Build the net.

        Args:
            block: makes a block for so many inputs, a width and a stride.
            blocks: how many of them each stage has.
            width: of the blocks of the first stage; each later stage has twice the width.
            outputs: channels that come out of the first stage; each later one has twice as many.
            channels: of an image.
            classes: to tell apart.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        stages = []
        for stage, count in enumerate(blocks):
            made = []
            for index in range(count):
                halve = stage > 0 and index == 0
                made.append(block(inputs, width << stage, 2 if halve else 1))
                inputs = outputs << stage
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class ResNet(ResidualNet):
    """A residual net of basic or of bottleneck blocks."""

    def __init__(self, config: ResNetConfig) -> None:
        block = BasicBlock if config.block == "basic" else BottleneckBlock
        super().__init__(
            block, config.blocks, config.width, config.width * block.expansion, config.channels,
            config.classes,
        )  # fmt: skip
        self.config = config


def initialise_convolutions(model: nn.Module) -> None:
    """He's initialisation, which keeps the spread of gradients from layer to layer under relu."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def from_huggingface(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `ResNetForImageClassification` of transformers, under this file's names.

    Raises:
        ValueError: a name is not part of that layout.
    """
    return {_our_name(name): weight for name, weight in weights.items()}


def to_huggingface(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This file's weights under the names of transformers.

    Raises:
        ValueError: a name is none of this file's.
    """
    return {_their_name(name): weight for name, weight in weights.items()}


OUTSIDE_BLOCKS = {
    "resnet.embedder.embedder.convolution": "conv1",
    "resnet.embedder.embedder.normalization": "bn1",
    "classifier.1": "fc",
}
INSIDE_BLOCKS = re.compile(
    r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\."
    r"(?:layer\.(\d+)|shortcut)\.(convolution|normalization)"
)
OUR_BLOCKS = re.compile(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.([01]))")


def _our_name(name: str) -> str:
    """For example `layer1.1.conv3.weight`, whose third convolution they count from 0."""
    module, _, leaf = name.rpartition(".")
    if module in OUTSIDE_BLOCKS:
        return f"{OUTSIDE_BLOCKS[module]}.{leaf}"
    found = INSIDE_BLOCKS.fullmatch(module)
    if found is None:
        raise ValueError(f"{name!r} is not the name of a ResNet weight in transformers' layout")
    stage, block, layer, kind = found.groups()
    if layer is None:
        inner = "downsample.0" if kind == "convolution" else "downsample.1"
    else:
        inner = ("conv" if kind == "convolution" else "bn") + str(int(layer) + 1)
    return f"layer{int(stage) + 1}.{block}.{inner}.{leaf}"


def _their_name(name: str) -> str:
    """The other way round."""
    module, _, leaf = name.rpartition(".")
    for theirs, ours in OUTSIDE_BLOCKS.items():
        if module == ours:
            return f"{theirs}.{leaf}"
    found = OUR_BLOCKS.fullmatch(module)
    if found is None:
        raise ValueError(f"{name!r} is not the name of a ResNet weight")
    stage, block, kind, layer, step = found.groups()
    place = "shortcut" if layer is None else f"layer.{int(layer) - 1}"
    what = "convolution" if kind == "conv" or step == "0" else "normalization"
    return f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}.{place}.{what}.{leaf}"
