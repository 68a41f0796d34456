"""EfficientNet: depth, width and resolution grown together, by one number.

A small net (B0) is made of inverted bottlenecks: a 1x1 convolution widens, a depthwise one looks
around, gates weigh the channels, a 1x1 narrows again. Then phi scales all three of its sizes: depth
alpha^phi, width beta^phi, resolution gamma^phi. Multiplications grow as depth * width^2 *
resolution^2, so alpha * beta^2 * gamma^2 = 2 makes them double with each step of phi.

The state dict has the names and shapes of the published weights (torchvision's). Lite0 is the form
for phones: no gates, relu6, and the padding of TensorFlow. `efficientnet_names` has the names of
two other public layouts.

Source: Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
arXiv:1905.11946, equation 3, table 1; the block: Sandler et al. 2018, arXiv:1801.04381; the
published nets for B1 to B7's factors, which the paper does not print, and for Lite0.
Differs from the paper: nothing of the net; `compound` gives the formula, the presets the published
roundings of it.

Symbols: phi the compound coefficient; alpha, beta, gamma what depth, width and resolution grow by.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.activation_names import ACTIVATIONS, refuse_unknown
from orrery.systems.foundations.resnet import initialise_convolutions
from orrery.systems.foundations.senet import SqueezeExcitation

SYSTEM = System(
    stem="efficientnet", area="foundations", title="EfficientNet (B0 to B7, Lite0)", year=2019,
    papers=("arXiv:1905.11946",), builds_on=("resnet", "senet"), realises=("efficientnet",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Logits = Float[Tensor, "b classes"]

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15


@dataclass(frozen=True, kw_only=True, slots=True)
class EfficientStage:
    """Blocks alike but for the first, which alone may halve the image and change the channels."""

    expand: int
    """Channels inside a block for each that enters it."""
    kernel: int
    stride: int
    outputs: int
    blocks: int

    def __post_init__(self) -> None:
        for name in ("expand", "outputs", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, got {self.kernel}")
        if self.stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, got {self.stride}")


def stages_b0() -> tuple[EfficientStage, ...]:
    """Table 1 of the paper."""
    rows = (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
    )  # fmt: skip
    return tuple(
        EfficientStage(expand=e, kernel=k, stride=s, outputs=o, blocks=n) for e, k, s, o, n in rows
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EfficientNetConfig:
    """The net before scaling, and what it is scaled by; the defaults are B0."""

    stages: tuple[EfficientStage, ...] = stages_b0()
    width: float = 1.0
    """Factor of all channels."""
    depth: float = 1.0
    """Factor of the blocks in a stage."""
    resolution: int = 224
    """Pixels on a side of the images that the net is meant for."""
    stem: int = 32
    head: int = 1280
    """Channels of the last convolution."""
    fixed_ends: bool = False
    """Stem and head are not widened, the first and the last stage not deepened (Lite)."""
    squeeze: float = 0.25
    """Squeezed channels of a gate for each channel that enters the block; 0: no gates."""
    activation: str = "silu"
    """By its published name."""
    padding: Literal["centred", "same", "shifted"] = "centred"
    """Where a stride of 2 puts its pixels. centred: k // 2 on each side; same: as TensorFlow, what
    the size needs, the odd one after; shifted: one less before (Keras, for even sizes)."""
    centred_blocks: tuple[int, ...] = ()
    """Numbers of blocks that are centred all the same."""
    epsilon: float = 1e-5
    """Added to the variance in a norm."""
    momentum: float = 0.1
    """Share of a new batch in the running statistics."""
    dropout: float = 0.2
    drop_path: float = 0.2
    """Chance that the last block's branch is left out in training; grows linearly up to it."""
    first_skip: bool = True
    """A stage's first block has a shortcut too, where nothing changes shape (Keras: never)."""
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages must not be empty")
        self.check("above 0", ("width", "depth", "epsilon"), lambda v: v > 0)
        ones = ("resolution", "stem", "head", "channels", "classes")
        self.check("at least 1", ones, lambda v: v >= 1)
        self.check("in [0, 1]", ("squeeze", "momentum"), lambda v: 0 <= v <= 1)
        self.check("in [0, 1)", ("dropout", "drop_path"), lambda v: 0 <= v < 1)
        refuse_unknown(self.activation)
        ways = ("centred", "same", "shifted")
        self.check(f"one of {', '.join(ways)}", ("padding",), ways.__contains__)

    def check(self, allowed: str, names: tuple[str, ...], fits: Callable[[Any], bool]) -> None:
        """Raise a ValueError for the first of the settings that does not fit."""
        for name in names:
            if not fits(getattr(self, name)):
                raise ValueError(f"{name} must be {allowed}, got {getattr(self, name)!r}")

    def widened(self, channels: int) -> int:
        """The nearest multiple of 8, up where that would lose more than a tenth."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def deepened(self, stage: int) -> int:
        """Blocks of a stage, counted from 0."""
        fixed = self.fixed_ends and stage in (0, len(self.stages) - 1)
        blocks = self.stages[stage].blocks
        return blocks if fixed else math.ceil(blocks * self.depth)

    def ends(self) -> tuple[int, int]:
        """Channels of the stem and of the head."""
        if self.fixed_ends:
            return self.stem, self.head
        return self.widened(self.stem), self.widened(self.head)


def compound(phi: int | float) -> tuple[float, float, float]:
    """Factors of depth, width and resolution (equation 3)."""
    return ALPHA**phi, BETA**phi, GAMMA**phi


def efficientnet(phi: Literal[0, 1, 2, 3, 4, 5, 6, 7]) -> EfficientNetConfig:
    """B0 to B7, with the factors, resolutions and dropouts of the published nets."""
    width, depth, resolution, dropout = (
        (1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3),
        (1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5),
    )[phi]  # fmt: skip
    ported = phi >= 5  # torchvision took these from TensorFlow, with its norms
    return EfficientNetConfig(
        width=width, depth=depth, resolution=resolution, dropout=dropout,
        epsilon=1e-3 if ported else 1e-5, momentum=0.01 if ported else 0.1,
    )  # fmt: skip


def efficientnet_lite0() -> EfficientNetConfig:
    """Lite0: B0 without gates, with relu6."""
    return EfficientNetConfig(
        fixed_ends=True, squeeze=0.0, activation="relu6", padding="same", epsilon=1e-3,
        momentum=0.01,
    )  # fmt: skip


class ConvNorm(nn.Sequential):
    """A convolution without bias, then batch norm: entries 0 and 1."""

    def __init__(self, inputs: int, outputs: int, config: EfficientNetConfig, kernel: int = 1,
                 stride: int = 1, groups: int = 1, number: int = -1) -> None:  # fmt: skip
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=config.epsilon, momentum=config.momentum),
        )
        self.kernel, self.stride = kernel, stride
        self.padding = "centred" if number in config.centred_blocks else config.padding

    def forward(self, x: Maps) -> NewMaps:
        """The normalised maps."""
        rows, columns = (self.before_and_after(size) for size in x.shape[2:])
        return self[1](self[0](F.pad(x, (*columns, *rows))))

    def before_and_after(self, size: int) -> tuple[int, int]:
        """Pixels of padding on both sides of a line of `size`."""
        half = self.kernel // 2
        shifted = self.padding == "shifted" or (self.padding == "same" and size % 2 == 0)
        if self.stride == 1 or half == 0 or not shifted:
            return half, half
        return half - 1, half


class InvertedBlock(nn.Module):
    """Widen, look around, weigh the channels, narrow; the entries of `block` are torchvision's."""

    def __init__(self, inputs: int, stage: EfficientStage, stride: int, number: int,
                 config: EfficientNetConfig, drop: float, skip: bool) -> None:  # fmt: skip
        super().__init__()
        outputs, inner = config.widened(stage.outputs), inputs * stage.expand
        self.expands, self.gated = stage.expand > 1, config.squeeze > 0
        layers: list[nn.Module] = []
        if self.expands:
            layers.append(ConvNorm(inputs, inner, config))
        layers.append(ConvNorm(inner, inner, config, stage.kernel, stride, inner, number))
        self.activation = ACTIVATIONS[config.activation]
        if self.gated:
            squeezed = max(1, int(inputs * config.squeeze))
            layers.append(SqueezeExcitation(inner, squeezed, self.activation))
        layers.append(ConvNorm(inner, outputs, config))
        self.block = nn.ModuleList(layers)
        self.skip = skip and stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Maps) -> NewMaps:
        """The maps after the block."""
        y = x
        for layer in self.block[:-1]:
            y = layer(y) if isinstance(layer, SqueezeExcitation) else self.activation(layer(y))
        y = self.block[-1](y)
        if not self.skip:
            return y
        kept = F.dropout(y.new_ones(len(y), 1, 1, 1), self.drop, self.training)  # whole images
        return x + y * kept


class EfficientNet(nn.Module):
    """Stem, stages of inverted bottlenecks, head, the mean over the image, one linear layer."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        stem, head = config.ends()
        total = sum(config.deepened(i) for i in range(len(config.stages)))
        layers: list[nn.Module] = [ConvNorm(config.channels, stem, config, 3, stride=2)]
        inputs, number = stem, 0
        for i, stage in enumerate(config.stages):
            blocks = []
            for index in range(config.deepened(i)):
                stride = stage.stride if index == 0 else 1
                drop = config.drop_path * number / total
                skip = index > 0 or config.first_skip
                blocks.append(InvertedBlock(inputs, stage, stride, number, config, drop, skip))
                inputs, number = config.widened(stage.outputs), number + 1
            layers.append(nn.Sequential(*blocks))
        layers.append(ConvNorm(inputs, head, config))
        self.features = nn.Sequential(*layers)
        linear = nn.Linear(head, config.classes)
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), linear)
        self.activation = ACTIVATIONS[config.activation]
        self.initialise(linear)

    def initialise(self, linear: nn.Linear) -> None:
        """He's for convolutions, uniform for the linear layer, no biases."""
        initialise_convolutions(self)
        for name, parameter in self.named_parameters():
            if name.endswith(("fc1.bias", "fc2.bias", "classifier.1.bias")):
                nn.init.zeros_(parameter)
        limit = self.config.classes**-0.5
        nn.init.uniform_(linear.weight, -limit, limit)

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        stem, *stages, head = self.features
        x = self.activation(stem(images))
        for stage in stages:
            x = stage(x)
        return self.classifier(self.activation(head(x)).mean((2, 3)))
