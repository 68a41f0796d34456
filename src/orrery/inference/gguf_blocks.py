"""The number formats of GGUF: blocks of bytes, worked out to single precision.

A block holds 1, 32 or 256 neighbouring numbers of a row: small whole numbers q, a scale d, and in
some formats an offset. The K formats scale their scales again.

Source: the layouts of ggml (its ggml-common.h and the reference loops of ggml-quants.c), version
of GGUF 3.

Symbols: n blocks of b bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Blocks = UInt8[Tensor, "n b"]
Numbers = Float[Tensor, "n _"]
Groups = tuple[Tensor, Tensor, Tensor]  # q [n 32], scale [n 1], offset [n 1]: scale q + offset


@dataclass(frozen=True, slots=True)
class Format:
    """How the numbers of a tensor are stored."""

    name: str
    numbers: int
    """In a block."""
    bytes: int
    """Of a block."""
    unpack: Callable[[Tensor], Tensor]
    groups: Callable[[Tensor], Groups] | None = None
    """Where a block is one scale and one offset for 32 numbers of four bits: all three, unmixed."""


def halves(blocks: Blocks, start: int) -> Numbers:
    """The half-precision number at a byte of each block."""
    return blocks[:, start : start + 2].contiguous().view(torch.float16).float()


def nibbles(packed: Blocks) -> UInt8[Tensor, "n _"]:
    """The low four bits of all bytes, then the high ones."""
    return torch.cat([packed & 15, packed >> 4], dim=1)


def f32(blocks: Blocks) -> Numbers:
    """Single precision."""
    return blocks.contiguous().view(torch.float32)


def f16(blocks: Blocks) -> Numbers:
    """Half precision."""
    return halves(blocks, 0)


def bf16(blocks: Blocks) -> Numbers:
    """The upper half of single precision."""
    return blocks.contiguous().view(torch.bfloat16).float()


def q8_0(blocks: Blocks) -> Numbers:
    """Scale, 32 signed bytes."""
    return halves(blocks, 0) * blocks[:, 2:].contiguous().view(torch.int8)


def q4_0(blocks: Blocks) -> Numbers:
    """Scale, 32 times four bits around 8."""
    return halves(blocks, 0) * (nibbles(blocks[:, 2:]).float() - 8)


def q4_1(blocks: Blocks) -> Numbers:
    """Scale, offset, 32 times four bits."""
    return halves(blocks, 0) * nibbles(blocks[:, 4:]) + halves(blocks, 2)


def groups_4_0(blocks: Blocks) -> Groups:
    """Of Q4_0."""
    scale = halves(blocks, 0)
    return nibbles(blocks[:, 2:]), scale, -8 * scale


def groups_4_1(blocks: Blocks) -> Groups:
    """Of Q4_1."""
    return nibbles(blocks[:, 4:]), halves(blocks, 0), halves(blocks, 2)


def scales_k(packed: Blocks) -> tuple[UInt8[Tensor, "n 8"], UInt8[Tensor, "n 8"]]:
    """Eight scales and eight offsets of six bits each, out of twelve bytes.

    The first four of each have bytes of their own; the upper bits of those hold the upper bits of
    the last four, whose lower bits share a byte.
    """
    first, second, shared = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat([first & 63, (shared & 15) | (first >> 6 << 4)], dim=1)
    offsets = torch.cat([second & 63, (shared >> 4) | (second >> 6 << 4)], dim=1)
    return scales, offsets


def q4_k(blocks: Blocks) -> Numbers:
    """Eight groups of 32 times four bits, each with a scale and an offset of six bits."""
    scales, offsets = scales_k(blocks[:, 4:16])
    packed = blocks[:, 16:].reshape(-1, 4, 32)  # two groups to 32 bytes
    q = torch.stack([packed & 15, packed >> 4], dim=2).reshape(-1, 8, 32)
    scale = (halves(blocks, 0) * scales)[..., None]
    offset = (halves(blocks, 2) * offsets)[..., None]
    return (scale * q - offset).flatten(1)


def q6_k(blocks: Blocks) -> Numbers:
    """Sixteen groups of 16 times six bits around 32, each with a scale of eight bits."""
    low = blocks[:, :128].reshape(-1, 2, 2, 32)  # half, part, byte
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    lower = torch.cat([low & 15, low >> 4], dim=2)  # half, quarter, byte
    upper = high >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)[:, None] & 3
    q = (lower | upper << 4).reshape(-1, 16, 16).float() - 32
    scales = blocks[:, 192:208].contiguous().view(torch.int8)
    return ((halves(blocks, 208) * scales)[..., None] * q).flatten(1)


FORMATS = {
    0: Format("F32", 1, 4, f32),
    1: Format("F16", 1, 2, f16),
    2: Format("Q4_0", 32, 18, q4_0, groups_4_0),
    3: Format("Q4_1", 32, 20, q4_1, groups_4_1),
    8: Format("Q8_0", 32, 34, q8_0),
    12: Format("Q4_K", 256, 144, q4_k),
    14: Format("Q6_K", 256, 210, q6_k),
    30: Format("BF16", 1, 2, bf16),
}
"""By ggml's number of the type."""
