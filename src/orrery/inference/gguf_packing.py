"""Numbers into the blocks of GGUF: what `gguf_blocks` unpacks, the other way round.

Source: the reference roundings of ggml (quantize_row_q8_0_ref, quantize_row_q4_0_ref and
quantize_row_q4_1_ref of ggml-quants.c), bit for bit.

Symbols: n blocks of b bytes.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Blocks = UInt8[Tensor, "n b"]
Numbers = Float[Tensor, "n _"]


def q8_0(numbers: Numbers) -> Blocks:
    """Scale, 32 signed bytes; the largest becomes 127."""
    scale = numbers.abs().amax(1, keepdim=True) / 127
    q = _whole(numbers * _inverse(scale)).clamp(-127, 127)
    return torch.cat([_half(scale), q.to(torch.int8).view(torch.uint8)], dim=1)


def q4_0(numbers: Numbers) -> Blocks:
    """Scale, 32 times four bits around 8; the largest becomes -8, and the scale has its sign."""
    largest = numbers.gather(1, numbers.abs().argmax(1, keepdim=True))
    scale = largest / -8
    q = (numbers * _inverse(scale) + 8.5).trunc().clamp(0, 15)
    return torch.cat([_half(scale), _nibbles(q)], dim=1)


def q4_1(numbers: Numbers) -> Blocks:
    """Scale, offset, 32 times four bits; the least becomes 0, the greatest 15."""
    least = numbers.amin(1, keepdim=True)
    scale = (numbers.amax(1, keepdim=True) - least) / 15
    q = ((numbers - least) * _inverse(scale) + 0.5).trunc().clamp(0, 15)
    return torch.cat([_half(scale), _half(least), _nibbles(q)], dim=1)


def f32(numbers: Numbers) -> Blocks:
    """Single precision."""
    return numbers.contiguous().view(torch.uint8)


def f16(numbers: Numbers) -> Blocks:
    """Half precision."""
    return _half(numbers)


PACKERS: dict[str, Callable[[Tensor], Tensor]] = {
    "F32": f32, "F16": f16, "Q4_0": q4_0, "Q4_1": q4_1, "Q8_0": q8_0,
}  # fmt: skip
"""By ggml's name; each takes blocks of float32 as long as those of the format."""


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale, and 0 where that is too large to be a number."""
    return scale.reciprocal().nan_to_num(0, posinf=0, neginf=0)


def _whole(numbers: Tensor) -> Tensor:
    """The nearest whole number; halves away from zero, as C's roundf has it."""
    size = numbers.abs()
    floor = size.floor()
    return numbers.sign() * (floor + (2 * (size - floor)).floor())


def _half(numbers: Tensor) -> Blocks:
    """Two bytes each.

    Raises:
        ValueError: a number is too large for half precision, or none at all.
    """
    half = numbers.to(torch.float16)
    if not half.isfinite().all():
        raise ValueError("numbers must be within the range of half precision")
    return half.contiguous().view(torch.uint8)


def _nibbles(q: Tensor) -> Blocks:
    """The first sixteen in the low four bits, the others in the high ones."""
    low, high = q.to(torch.uint8).chunk(2, dim=1)
    return low | high << 4
