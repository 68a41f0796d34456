"""DenseNet: each layer sees the maps of all layers before it, side by side.

Where a residual net adds, a dense block concatenates: layer l reads k_0 + k (l - 1) maps and gives
k new ones (k the growth rate). A layer is norm, relu, 1x1 to 4k maps, norm, relu, 3x3 to k maps; a
transition between blocks halves the maps and the image. The state dict has the names and shapes of
the published weights (torchvision's).

Source: Huang, Liu, van der Maaten, Weinberger 2017, "Densely Connected Convolutional Networks",
arXiv:1608.06993, equation 2, section 3, table 1 (DenseNet-BC).
Differs from the paper: nothing of the net.

Symbols: k the growth rate, k_0 the maps that enter a block.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="densenet", area="foundations", title="DenseNet (121, 161, 169, 201)", year=2017,
    papers=("arXiv:1608.06993",), builds_on=(), realises=("densenet",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Logits = Float[Tensor, "b classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseNetConfig:
    """Layers of each block and the growth rate; the defaults are DenseNet-121."""

    blocks: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    """k: new maps a layer gives."""
    width: int = 64
    """Maps that enter the first block."""
    bottleneck: int = 4
    """The 1x1 convolution of a layer gives so many times k maps."""
    dropout: float = 0.0
    """Chance that a new map is dropped, element by element, in training."""
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError(f"blocks must be at least 1 layer each, got {self.blocks}")
        for name in ("growth", "bottleneck", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width < 2:
            raise ValueError(f"width must be at least 2, for a transition halves, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def densenet121() -> DenseNetConfig:
    """121 layers with weights."""
    return DenseNetConfig()


def densenet161() -> DenseNetConfig:
    """161 layers with weights, of growth rate 48."""
    return DenseNetConfig(blocks=(6, 12, 36, 24), growth=48, width=96)


def densenet169() -> DenseNetConfig:
    """169 layers with weights."""
    return DenseNetConfig(blocks=(6, 12, 32, 32))


def densenet201() -> DenseNetConfig:
    """201 layers with weights."""
    return DenseNetConfig(blocks=(6, 12, 48, 32))


class DenseLayer(nn.Module):
    """k new maps from all the maps so far."""

    def __init__(self, inputs: int, config: DenseNetConfig) -> None:
        super().__init__()
        inner = config.bottleneck * config.growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, config.growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Maps) -> NewMaps:
        """The new maps alone."""
        y = self.conv1(F.relu(self.norm1(x)))
        return self.dropout(self.conv2(F.relu(self.norm2(y))))


class DenseBlock(nn.Module):
    """x_l = H_l([x_0, x_1, ..., x_(l-1)]) (equation 2); out come all of them."""

    def __init__(self, inputs: int, layers: int, config: DenseNetConfig) -> None:
        super().__init__()
        for index in range(layers):
            layer = DenseLayer(inputs + index * config.growth, config)
            self.add_module(f"denselayer{index + 1}", layer)

    def forward(self, x: Maps) -> NewMaps:
        """The maps that came in, then each layer's in turn."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transition(nn.Module):
    """Half the maps, of half the height and width."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Maps) -> NewMaps:
        """The smaller maps."""
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between, the mean over the image, one linear layer."""

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential()
        self.features.add_module(
            "conv0", nn.Conv2d(config.channels, config.width, 7, stride=2, padding=3, bias=False)
        )
        self.features.add_module("norm0", nn.BatchNorm2d(config.width))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        inputs = config.width
        for index, layers in enumerate(config.blocks, 1):
            if index > 1:
                self.features.add_module(f"transition{index - 1}", Transition(inputs))
                inputs //= 2
            self.features.add_module(f"denseblock{index}", DenseBlock(inputs, layers, config))
            inputs += layers * config.growth
        self.features.add_module("norm5", nn.BatchNorm2d(inputs))  # 5 in every published net
        self.classifier = nn.Linear(inputs, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        return self.classifier(F.relu(self.features(images)).mean((2, 3)))
