"""SENet: gates that look at the whole image and turn channels up or down.

Squeeze: the mean of each channel over the image. Excite: two small layers and a sigmoid turn the C
means into C gates, s = sigmoid(W_2 relu(W_1 z)), which multiply the branch of a residual block
before it is added to the shortcut. The state dict has the names and shapes of timm's `seresnet`
weights: torchvision's ResNet, and `se.fc1` and `se.fc2` (1x1 convolutions) in each block.

Source: Hu, Shen, Sun 2018, "Squeeze-and-Excitation Networks", arXiv:1709.01507, equations 2 to 4,
figure 3, section 3.3.
Differs from the paper: the squeezed layer never has fewer than 8 channels and always a multiple of
8, as in timm; in its bottlenecks the stride is on the 3x3 convolution; both layers have biases.

Symbols: z the means, s the gates, r the reduction.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.resnet import (
    BasicBlock,
    BottleneckBlock,
    ResidualNet,
    ResNetConfig,
    resnet50,
)

SYSTEM = System(
    stem="senet", area="foundations", title="SENet (squeeze and excitation)", year=2017,
    papers=("arXiv:1709.01507",), builds_on=("resnet",), realises=("senet",),
)  # fmt: skip

Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Gates = Float[Tensor, "b channels 1 1"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SENetConfig:
    """A residual net and how much its channels are squeezed."""

    net: ResNetConfig = field(default_factory=resnet50)
    reduction: int = 16
    """r: channels that come out of a block for each squeezed one."""
    multiple: int = 8
    """The squeezed channels are a multiple of it."""

    def __post_init__(self) -> None:
        for name in ("reduction", "multiple"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def squeezed(self, channels: int) -> int:
        """Channels between the two layers of the gate: the nearest multiple, never none."""
        steps = int(channels / self.reduction / self.multiple + 0.5)
        return self.multiple * max(1, steps)


def se_resnet(layers: Literal[18, 34, 50, 101, 152]) -> SENetConfig:
    """The net of so many layers with weights, the gates' own not counted."""
    blocks = {
        18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
        152: (3, 8, 36, 3),
    }[layers]  # fmt: skip
    kind: Literal["basic", "bottleneck"] = "basic" if layers < 50 else "bottleneck"
    return SENetConfig(net=ResNetConfig(block=kind, blocks=blocks))


class SqueezeExcitation(nn.Module):
    """Multiply every channel by a gate that all channels have a say in."""

    def __init__(
        self, channels: int, squeezed: int, activation: Callable[[Tensor], Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation

    def gates(self, x: Maps) -> Gates:
        """s, a number between 0 and 1 for each channel of each image."""
        z = x.mean((2, 3), keepdim=True)
        return torch.sigmoid(self.fc2(self.activation(self.fc1(z))))

    def forward(self, x: Maps) -> Maps:
        """The channels, each multiplied by its gate."""
        return x * self.gates(x)


class GatedBasicBlock(BasicBlock):
    """A basic block whose branch is gated."""

    def __init__(self, inputs: int, width: int, stride: int, config: SENetConfig) -> None:
        super().__init__(inputs, width, stride)
        self.se = SqueezeExcitation(width, config.squeezed(width))

    def branch(self, x: Maps) -> NewMaps:
        """F(x), gated."""
        return self.se(super().branch(x))


class GatedBottleneckBlock(BottleneckBlock):
    """A bottleneck block whose branch is gated."""

    def __init__(self, inputs: int, width: int, stride: int, config: SENetConfig) -> None:
        super().__init__(inputs, width, stride)
        outputs = width * self.expansion
        self.se = SqueezeExcitation(outputs, config.squeezed(outputs))

    def branch(self, x: Maps) -> NewMaps:
        """F(x), gated."""
        return self.se(super().branch(x))


class SEResNet(ResidualNet):
    """A residual net with a gate in every block."""

    def __init__(self, config: SENetConfig) -> None:
        net = config.net
        kind = GatedBasicBlock if net.block == "basic" else GatedBottleneckBlock

        def block(inputs: int, width: int, stride: int) -> nn.Module:
            return kind(inputs, width, stride, config)

        super().__init__(
            block, net.blocks, net.width, net.width * kind.expansion, net.channels, net.classes
        )
        self.config = config
