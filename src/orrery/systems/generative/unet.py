"""The U-Net of DDPM: looks at a noisy image and at the time, and says what the noise is.

Source: Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239,
appendix B; the down-and-up shape with skips is Ronneberger et al. 2015, arXiv:1505.04597.
Differs from the paper: sizes are small, attention may have several heads, and dropout is left
out. As in the authors' code, the last layer of every branch starts at zero, so that an untrained
block passes its input on. `from_diffusers` reads the weights of diffusers' UNet2DModel.

Going down, each level halves the image: residual blocks see ever more of it. Going up, each
block also gets what the block of its size saw on the way down, so that no detail is lost. The
time reaches every residual block as a bias per channel.

Symbols: x the image on its way through; t the time, embedded as a vector of e numbers.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import attention
from orrery.nn.winograd import Conv3x3

SYSTEM = System(
    stem="unet", area="generative", title="U-Net of DDPM", year=2020,
    papers=("arXiv:2006.11239", "arXiv:1505.04597"), builds_on=(),
    realises=(),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Times = Shaped[Tensor, " b"]  # steps of the diffusion; whole numbers in DDPM, any real elsewhere
Embedding = Float[Tensor, "b e"]
L = TypeVar("L", bound=nn.Module)

LONGEST_PERIOD = 10_000  # of the waves that tell the time


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """Sizes; the defaults are 5.9 million parameters for 32 x 32 colour images."""

    channels: int = 3
    """Of the image."""
    widths: tuple[int, ...] = (48, 96, 144)
    """Channels at each level, from the full image to the smallest."""
    depth: int = 2
    """Residual blocks a level going down; going up there is one more."""
    attention: tuple[bool, ...] = (False, False, True)
    """Whether a level looks across the whole image after each residual block."""
    heads: int = 3
    groups: int = 8
    """Channels are normalised together in so many groups."""

    def __post_init__(self) -> None:
        if min(self.channels, self.depth, self.heads, self.groups) < 1:
            raise ValueError(f"channels, depth, heads and groups must be at least 1: {self}")
        if not self.widths or len(self.widths) != len(self.attention):
            raise ValueError(
                f"attention must say yes or no for each of the {len(self.widths)} widths (at "
                f"least 1), got {len(self.attention)}"
            )
        for width in self.widths:
            if width < 2 or width % 2 or width % self.groups or width % self.heads:
                raise ValueError(
                    f"widths must be even multiples of groups={self.groups} and of "
                    f"heads={self.heads}, got {width}"
                )

    @property
    def embedding(self) -> int:
        """Numbers that tell the time."""
        return 4 * self.widths[0]

    @property
    def divisor(self) -> int:
        """Rows and columns of an image must be multiples of this."""
        return 2 ** (len(self.widths) - 1)


class TimeEmbedding(nn.Module):
    """Waves of many lengths, read off at time t, through two layers."""

    def __init__(self, features: int, embedding: int) -> None:
        super().__init__()
        self.features = features
        self.linear1 = nn.Linear(features, embedding)
        self.linear2 = nn.Linear(embedding, embedding)

    def forward(self, t: Times) -> Embedding:
        """The time as the vector that every residual block listens to, ready activated."""
        waves = time_waves(t, self.features).to(self.linear1.weight.dtype)
        return F.silu(self.linear2(F.silu(self.linear1(waves))))


def time_waves(t: Times, features: int) -> Float[Tensor, "b {features}"]:
    """Cosines, then sines, of t at periods from 2 pi to nearly 2 pi LONGEST_PERIOD."""
    half = features // 2
    wide = torch.float64 if t.dtype == torch.float64 else torch.float32
    place = torch.arange(half, dtype=wide, device=t.device)
    angles = t[:, None].to(wide) * torch.exp(-math.log(LONGEST_PERIOD) * place / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimedResidual(nn.Module):
    """Normalise, activate, convolve, twice; the time is added in between."""

    def __init__(self, inputs: int, width: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = Conv3x3(inputs, width)
        self.time = nn.Linear(embedding, width)
        self.norm2 = nn.GroupNorm(groups, width)
        self.conv2 = zeroed(Conv3x3(width, width))
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Images, t: Embedding) -> Float[Tensor, "b w y x"]:
        """The image after the block."""
        h = self.conv1(activate(self.norm1(x))).add_(self.time(t)[:, :, None, None])
        return self.conv2(activate(self.norm2(h))).add_(self.shortcut(x))


class SpatialAttention(nn.Module):
    """Every pixel gathers from all pixels: the image's rows and columns are one sequence."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Images) -> Images:
        """The image plus what its pixels gathered."""
        tokens = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)  # [b, y * x, c]
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = self.out(attention(q, k, v).transpose(1, 2).flatten(-2))
        return x + gathered.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class UNetBlock(nn.Module):
    """A residual block, and attention after it at the levels that have it."""

    def __init__(self, inputs: int, config: UNetConfig, level: int) -> None:
        super().__init__()
        width, groups = config.widths[level], config.groups
        self.residual = TimedResidual(inputs, width, config.embedding, groups)
        attends = config.attention[level]
        self.look = SpatialAttention(width, config.heads, groups) if attends else nn.Identity()

    def forward(self, x: Images, t: Embedding) -> Float[Tensor, "b w y x"]:
        """The image after the block."""
        return self.look(self.residual(x, t))


class Halve(nn.Module):
    """Half the rows and columns, by a convolution that visits every second pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Images, t: Embedding) -> Float[Tensor, "b c y//2 x//2"]:
        """The smaller image; the time does not matter."""
        return self.conv(x)


class Double(nn.Module):
    """Twice the rows and columns: every pixel four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv3x3(width, width)

    def forward(self, x: Images) -> Float[Tensor, "b c 2*y 2*x"]:
        """The larger image."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class UNet(nn.Module):
    """eps(x_t, t): the noise in the image x_t of time t."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, groups = config.widths, config.groups
        first, last, embedding = widths[0], widths[-1], config.embedding
        self.time = TimeEmbedding(first, embedding)
        self.stem = Conv3x3(config.channels, first)
        skips = [first]  # channels of each step's result on the way down, for the way up
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            for _ in range(config.depth):
                self.down.append(UNetBlock(skips[-1], config, level))
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Halve(width))
                skips.append(width)
        self.middle1 = TimedResidual(last, last, embedding, groups)
        self.middle_look = SpatialAttention(last, config.heads, groups)
        self.middle2 = TimedResidual(last, last, embedding, groups)
        self.up = nn.ModuleList()
        above = last
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.depth + 1):
                self.up.append(UNetBlock(above + skips.pop(), config, level))
                above = width
            if level > 0:
                self.up.append(Double(width))
        self.norm = nn.GroupNorm(groups, first)
        self.head = zeroed(Conv3x3(first, config.channels))
        # a pixel's channels side by side in memory: convolutions read them so
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Images, t: Times) -> Images:
        """The noise, of the image's own shape.

        Raises:
            ValueError: rows or columns cannot be halved often enough.
        """
        if x.shape[2] % self.config.divisor or x.shape[3] % self.config.divisor:
            raise ValueError(
                f"rows and columns must be multiples of {self.config.divisor}, got "
                f"{x.shape[2]} x {x.shape[3]}"
            )
        time = self.time(t)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for step in self.down:
            x = step(x, time)
            skips.append(x)
        x = self.middle2(self.middle_look(self.middle1(x, time)), time)
        for step in self.up:
            if isinstance(step, Double):
                x = step(x)
            else:
                x = step(torch.cat([x, skips.pop()], dim=1), time)
        return self.head(activate(self.norm(x)))


def activate(x: Images) -> Images:
    """SiLU; where no gradient is asked for it overwrites x, for fresh memory is slow."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def zeroed(layer: L) -> L:
    """The layer, saying nothing until it has learned something."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


DIFFUSERS = {
    "conv_in": "stem", "conv_norm_out": "norm", "conv_out": "head",
    "time_embedding.linear_1": "time.linear1", "time_embedding.linear_2": "time.linear2",
    "mid_block.resnets.0": "middle1", "mid_block.attentions.0": "middle_look",
    "mid_block.resnets.1": "middle2",
    "time_emb_proj": "time", "conv_shortcut": "shortcut",
    "group_norm": "norm", "to_out.0": "out",
}  # fmt: skip
"""What diffusers' UNet2DModel calls a part, and what it is called here."""


def from_diffusers(weights: Mapping[str, Tensor], config: UNetConfig) -> dict[str, Tensor]:
    """The state of a UNet from that of a diffusers UNet2DModel of the same sizes."""
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        for theirs, ours in DIFFUSERS.items():
            name = re.sub(rf"\b{re.escape(theirs)}\b", ours, name)
        renamed[re.sub(BLOCK, lambda found: _place(found, config.depth), name)] = value
    for name in [name for name in renamed if ".to_q." in name]:
        parts = [renamed.pop(name.replace("to_q", part)) for part in ("to_q", "to_k", "to_v")]
        renamed[name.replace("to_q", "qkv")] = torch.cat(parts)
    return renamed


BLOCK = r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)"


def _place(found: re.Match[str], depth: int) -> str:
    """Where a part of a diffusers block stands in the flat list of steps down or up."""
    way, level, kind, place = found[1], int(found[2]), found[3], int(found[4])
    blocks = depth if way == "down" else depth + 1
    if kind.endswith("samplers"):  # the last step of its level
        return f"{way}.{level * (blocks + 1) + blocks}"
    part = "residual" if kind == "resnets" else "look"
    return f"{way}.{level * (blocks + 1) + place}.{part}"
