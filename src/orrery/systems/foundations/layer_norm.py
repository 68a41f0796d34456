"""Layer normalisation, and the two places it has in a Transformer.

    y = g (x - m) / sqrt(v + eps) + b,   m, v: mean and variance of one token's numbers

Nothing depends on the batch, so training and test are the same. With r = 1 / sqrt(v + eps),
n = r (x - m), e = g dL/dy and means over the numbers of a token:

    dL/db = sum dL/dy,   dL/dg = sum n dL/dy,   dL/dx = r (e - mean e - n mean(e n))

    post (Add & Norm, 2017)   x <- norm(x + f(x))     every block rescales the stream
    pre (2020)                x <- x + f(norm(x))     the stream itself is left alone

The state dict of LayerNorm is that of torch.nn.LayerNorm.

Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, equation 3 (with gain and
bias as in section 5); Vaswani et al. 2017, arXiv:1706.03762, section 3.1 (post); Xiong et al. 2020,
arXiv:2002.04745, table 1 (pre and post).
Differs from the papers: eps, which they do not have, as in libraries.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from orrery.catalog import System

SYSTEM = System(
    stem="layer_norm", area="foundations", title="Layer normalisation, Add & Norm", year=2016,
    papers=("arXiv:1607.06450", "arXiv:1706.03762", "arXiv:2002.04745"), builds_on=(),
    realises=("layer-norm",),
)  # fmt: skip

Tokens = Float[Tensor, "*batch d"]
Place = Literal["pre", "post", "none"]


class LayerNorm(nn.Module):
    """Every token's numbers centred, scaled, and given a gain and a bias of their own."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        """Start as the plain normalisation.

        Raises:
            ValueError: width is below 1, or eps is not above 0.
        """
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if eps <= 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tokens) -> Tokens:
        """Normalise the last dimension."""
        given = (x, self.weight, self.bias, self.eps)
        y: Tensor = LayerNormFunction.apply(*given)  # type: ignore[no-untyped-call]
        return y


class LayerNormFunction(torch.autograd.Function):
    """Equation 3 and its gradients by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """Normalise; the way back needs the normalised input and the rate."""
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        rate = (variance + eps).rsqrt()
        normal = (x - mean) * rate
        ctx.save_for_backward(normal, weight, rate)
        return normal * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The three gradients of the docstring."""
        normal, weight, rate = ctx.saved_tensors
        e = d * weight
        for_x = e - e.mean(-1, keepdim=True) - normal * (e * normal).mean(-1, keepdim=True)
        tokens = list(range(d.ndim - 1))
        if not tokens:  # a single token: there is nothing to sum over
            return rate * for_x, d * normal, d, None
        return rate * for_x, (d * normal).sum(tokens), d.sum(tokens), None


class AddNorm(nn.Module):
    """A residual branch with its normalisation in front of it, behind the sum, or nowhere."""

    def __init__(self, branch: nn.Module, width: int, place: Place) -> None:
        """Wrap a branch.

        Args:
            branch: keeps the shape of its input.
            width: of a token.
            place: pre: x + f(norm(x)); post: norm(x + f(x)); none: x + f(x).

        Raises:
            ValueError: the place is none of the three.
        """
        super().__init__()
        if place not in ("pre", "post", "none"):
            raise ValueError(f"place must be 'pre', 'post' or 'none', got {place!r}")
        self.branch, self.place = branch, place
        self.norm = nn.Identity() if place == "none" else LayerNorm(width)

    def forward(self, x: Tokens) -> Tokens:
        """The stream after the branch."""
        if self.place == "post":
            return self.norm(x + self.branch(x))
        return x + self.branch(self.norm(x))
