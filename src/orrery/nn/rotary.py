"""Rotary positions: queries and keys turn with their place, so their product knows the distance.

Source: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding",
arXiv:2104.09864, equations 14 to 16 and 34.
Differs from the paper: number i turns together with number i + half the size, not with its
neighbour; the order of the numbers is the network's to learn.

Symbols: m a place, theta_i the angle that pair i turns by from one place to the next. A pair at
place m is turned by m theta_i, and the product of a query at m and a key at n depends on n - m.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="rotary", area="language", title="Rotary position embedding", year=2021,
    papers=("arXiv:2104.09864",), builds_on=(), realises=("rotary-embedding",),
)  # fmt: skip

Vectors = Float[Tensor, "b h t k"]
Turns = tuple[Tensor, Tensor]
"""Cosines and sines of the tokens' angles: [t half], or [b 1 t half]."""


def angles(places: int, size: int, *, base: float = 10_000.0) -> Float[Tensor, "t half"]:
    """Angle m theta_i of every place and pair, with theta_i = base^(-i / pairs).

    Args:
        places: how many.
        size: numbers in a query or key; even.
        base: the slowest pair takes about 2 pi base places to come round.

    Raises:
        ValueError: size is odd.
    """
    if size % 2:
        raise ValueError(f"size must be even, got {size}")
    theta = base ** (-torch.arange(size // 2) / (size // 2))
    return torch.arange(places)[:, None] * theta


def rotate(x: Vectors, turns: Float[Tensor, "t half"]) -> Vectors:
    """Every pair of `x` turned by its angle in `turns`."""
    return turned(x, (turns.cos().to(x.dtype), turns.sin().to(x.dtype)))


def turned(x: Vectors, turns: Turns) -> Vectors:
    """The same by cosines and sines that are made once, for all layers."""
    cos, sin = turns
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
