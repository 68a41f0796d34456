"""ResNet-1001: a thousand layers, made trainable by clean shortcuts and affordable by forgetting.

Norm and relu come before each convolution, so that nothing stands on the shortcut: the stream is
the sum of what went in and of every branch, and so is its gradient. The memory for a thousand
layers' activations is saved by keeping only the stream at every few blocks; what lies between is
computed again when gradients need it (checkpointing). With n blocks and sqrt(n) of them kept,
memory grows as sqrt(n) in place of n, for one more forward pass. Values and gradients stay.

Source: He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027,
equations 3 to 5, figure 4e, table 4 and the appendix (ResNet-1001: 9n + 2 layers); Chen, Xu, Zhang,
Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174, section 4.3.
Differs from the papers: one grey channel by default; `basic` blocks (6n + 2 layers) beside their
bottlenecks; `shortcut=False` gives the plain net of the same weights.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orrery.catalog import System
from orrery.systems.foundations.resnet import initialise_convolutions

SYSTEM = System(
    stem="resnet_1000", area="foundations", title="ResNet-1001 (pre-activation, checkpointed)",
    year=2016, papers=("arXiv:1603.05027", "arXiv:1604.06174"), builds_on=("resnet",),
    realises=("resnet-1000",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Logits = Float[Tensor, "b classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepResNetConfig:
    """The kind of block, the depth and the widths."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    depth: int = 1001
    """Layers with weights: 9n + 2 of bottlenecks, 6n + 2 of basic blocks."""
    width: int = 16
    """Channels inside the blocks of the first stage; each later stage has twice as many."""
    channels: int = 1
    classes: int = 10
    shortcut: bool = True
    forget: bool = True
    """Keep the stream at every few blocks only, and compute the rest twice."""

    def __post_init__(self) -> None:
        if self.block not in ("basic", "bottleneck"):
            raise ValueError(f"block must be 'basic' or 'bottleneck', got {self.block!r}")
        layers = 3 * self.convolutions
        if self.depth < layers + 2 or self.depth % layers != 2:
            raise ValueError(f"depth must be {layers}n + 2 with n at least 1, got {self.depth}")
        for name in ("width", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def convolutions(self) -> int:
        """Of a block's branch."""
        return 2 if self.block == "basic" else 3

    @property
    def expansion(self) -> int:
        """Channels that come out of a block for each one inside."""
        return 1 if self.block == "basic" else 4


def resnet1001() -> DeepResNetConfig:
    """The paper's 1001 layers for small colour images."""
    return DeepResNetConfig(channels=3)


class PreActivationBlock(nn.Module):
    """x + F(x), F a chain of (norm, relu, convolution); nothing after the sum."""

    def __init__(self, inputs: int, inner: int, stride: int, config: DeepResNetConfig) -> None:
        super().__init__()
        outputs = inner * config.expansion
        shapes: tuple[tuple[int, int, int, int], ...]
        if config.block == "basic":
            shapes = ((inputs, inner, 3, stride), (inner, outputs, 3, 1))
        else:
            shapes = ((inputs, inner, 1, stride), (inner, inner, 3, 1), (inner, outputs, 1, 1))
        self.norms = nn.ModuleList(nn.BatchNorm2d(entering) for entering, *_ in shapes)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(entering, leaving, size, step, padding=size // 2, bias=False)
            for entering, leaving, size, step in shapes
        )
        self.shortcut = config.shortcut
        changes = config.shortcut and (stride > 1 or inputs != outputs)
        self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Maps) -> NewMaps:
        """The stream after the block."""
        first = F.relu(self.norms[0](x))
        y = self.convolutions[0](first)
        for norm, convolution in zip(self.norms[1:], self.convolutions[1:], strict=True):
            y = convolution(F.relu(norm(y)))
        if not self.shortcut:
            return y
        return y + (x if self.projection is None else self.projection(first))


class DeepResNet(nn.Module):
    """Stem, three stages of n blocks, a last norm, the mean over the image, one linear layer."""

    def __init__(self, config: DeepResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(config.channels, config.width, 3, padding=1, bias=False)
        blocks, inputs = [], config.width
        for stage in range(3):
            inner = config.width << stage
            for index in range((config.depth - 2) // (3 * config.convolutions)):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(PreActivationBlock(inputs, inner, stride, config))
                inputs = inner * config.expansion
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.classify = nn.Linear(inputs, config.classes)
        initialise_convolutions(self)

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        x = self.stem(images)
        forget = self.config.forget and torch.is_grad_enabled()
        length = math.isqrt(len(self.blocks)) if forget else len(self.blocks)
        for start in range(0, len(self.blocks), length):
            stretch = self.blocks[start : start + length]
            x = remembering_the_start(stretch, x) if forget else pass_through(stretch, x)
        return self.classify(F.relu(self.norm(x)).mean((2, 3)))


def pass_through(stretch: nn.ModuleList, x: Maps) -> NewMaps:
    """The stream after some blocks."""
    for block in stretch:
        x = block(x)
    return x


def remembering_the_start(stretch: nn.ModuleList, x: Maps) -> NewMaps:
    """The same; nothing inside is kept, and the backward pass computes it again from `x`."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_unchanged(stretch)

    found: Tensor = checkpoint(
        pass_through, stretch, x, use_reentrant=False, preserve_rng_state=False,
        context_fn=contexts,
    )  # fmt: skip
    return found


@contextmanager
def statistics_unchanged(model: nn.Module) -> Iterator[None]:
    """Let a batch that passes for the second time count in copies of the running statistics."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    kept = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
