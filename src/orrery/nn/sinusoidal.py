"""Sinusoidal positions: each place a vector of waves, so that a step is a rotation.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.5.
Differs from the paper: nothing.

Symbols: w_i = base^(-2i / width) the frequency of pair i; PE(pos) = (sin(w_i pos), cos(w_i pos)).
PE(pos + k) is PE(pos) with pair i turned by w_i k, whatever pos is: a linear map of PE(pos).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="sinusoidal", area="language", title="Sinusoidal positional encoding", year=2017,
    papers=("arXiv:1706.03762",), builds_on=(), realises=("positional-encoding",),
)  # fmt: skip


def frequencies(width: int, *, base: float = 10_000.0) -> Float[Tensor, " half"]:
    """w_i of every pair, from 1 down to nearly 1 / base.

    Raises:
        ValueError: width is odd or below 2.
    """
    if width < 2 or width % 2:
        raise ValueError(f"width must be even and at least 2, got {width}")
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def sinusoids(
    places: int, width: int, *, start: int = 0, base: float = 10_000.0
) -> Float[Tensor, "t d"]:
    """PE of the places start, start + 1, ..., sines and cosines in turn; in float64."""
    angles = torch.arange(start, start + places)[:, None] * frequencies(width, base=base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def shift(encoding: Float[Tensor, "t d"], steps: float | int) -> Float[Tensor, "t d"]:
    """PE(pos + steps) from PE(pos) alone: every pair turned by its own angle."""
    turn = steps * frequencies(encoding.shape[-1])
    sin, cos = encoding.double().unflatten(-1, (-1, 2)).unbind(dim=-1)
    turned = sin * turn.cos() + cos * turn.sin(), cos * turn.cos() - sin * turn.sin()
    return torch.stack(turned, dim=-1).flatten(-2)
