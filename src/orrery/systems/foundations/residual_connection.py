"""Residual connection: a block learns what to add to its input, not what to replace it with.

y = x + F(x), hence dy/dx = I + dF/dx: whatever F does, one term of the gradient passes through
untouched. With all weights of F at zero the block is the identity, so the map that changes nothing
is where learning starts from and need not be learned. Multiplying out L such blocks gives 2^L
paths, one for each choice of the blocks that a path goes through (`expand_paths`).

Source: He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 3.1 (equation 1); He et al. 2016,
"Identity Mappings in Deep Residual Networks", arXiv:1603.05027, equations 3 to 5; Veit, Wilber,
Belongie 2016, arXiv:1605.06431, section 3 (the unravelled view).
Differs from the papers: fully connected layers without normalisation; nothing follows the sum.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="residual_connection", area="foundations", title="Residual connection", year=2015,
    papers=("arXiv:1512.03385", "arXiv:1603.05027", "arXiv:1605.06431"), builds_on=(),
    realises=("residual-connection",),
)  # fmt: skip

Vectors = Float[Tensor, "b d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResidualStackConfig:
    """`depth` blocks of two layers each, `width` wide, with the shortcut or without it."""

    width: int = 64
    depth: int = 8
    shortcut: bool = True
    """False: the same weights in a plain stack, y = F(x)."""

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class ResidualBlock(nn.Module):
    """y = x + F(x), F(x) = W2 relu(W1 x + b1) + b2; y = F(x) without the shortcut."""

    def __init__(self, width: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.enter.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.leave.weight, nonlinearity="linear")

    def forward(self, x: Vectors) -> Vectors:
        """The vectors with the block's change added to them."""
        change = self.leave(F.relu(self.enter(x)))
        return x + change if self.shortcut else change


class ResidualStack(nn.Module):
    """Blocks one after the other; input and output are of one size.

    Branches that are added start 1/sqrt(depth) as large, so that the output is about as spread out
    as the input at any depth; a plain stack keeps its spread as it is.
    """

    def __init__(self, config: ResidualStackConfig) -> None:
        super().__init__()
        self.config = config
        blocks = [
            ResidualBlock(config.width, shortcut=config.shortcut) for _ in range(config.depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        if config.shortcut:
            with torch.no_grad():
                for block in blocks:
                    block.leave.weight /= math.sqrt(config.depth)

    def forward(self, x: Vectors) -> Vectors:
        """The vectors after the last block."""
        return self.blocks(x)


def expand_paths(weights: Float[Tensor, "l d d"]) -> Float[Tensor, "paths d d"]:
    """The 2^L terms of (I + W_L) ... (I + W_1); term i goes through the blocks of its set bits.

    Their sum is the whole product: what a stack of linear residual blocks does, and its Jacobian.
    """
    depth, width, _ = weights.shape
    paths = torch.eye(width, dtype=weights.dtype, device=weights.device)[None]
    for weight in weights:
        paths = torch.cat([paths, weight @ paths])
    assert len(paths) == 2**depth
    return paths
