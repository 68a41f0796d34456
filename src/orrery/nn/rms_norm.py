"""RMSNorm: every vector brought to the length sqrt(d); no mean is taken off.

Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467,
equation 4.
Differs from the paper: an epsilon under the root, and no bias.

In half precision the length is found in float32, as Llama's code does. The gradient is written out:
autograd's own would read and write the stream a dozen times for a handful of operations.

Symbols: r = 1 / sqrt(mean of x^2 + epsilon), u = x r, g the gain, y = u g.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="rms_norm", area="language", title="RMSNorm", year=2019,
    papers=("arXiv:1910.07467",), builds_on=(), realises=(),
)  # fmt: skip

Vectors = Float[Tensor, "*n d"]


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        r = (length.square() / x.shape[-1] + epsilon).rsqrt()
        u = torch.mul(x, r, out=torch.empty_like(x))  # rounded once
        ctx.save_for_backward(u, gain, r)
        return u * gain

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (dy,) = gradients
        u, gain, r = ctx.saved_tensors
        product = dy * u
        along = (product @ gain)[..., None] / u.shape[-1]  # du has no part along u
        dx = (dy * gain).addcmul_(u, along, value=-1).mul_(r)
        return dx, product.reshape(-1, u.shape[-1]).sum(dim=0), None


class RmsNorm(nn.Module):
    """y = x / sqrt(mean of x^2 + epsilon) times a gain for each number."""

    def __init__(self, width: int, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Vectors) -> Vectors:
        """`x` normalised along its last axis."""
        return _Normalise.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]
