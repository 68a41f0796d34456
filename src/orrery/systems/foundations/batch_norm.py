"""Batch normalisation: every channel is centred and scaled by the statistics of its batch.

    training   y = g (x - m) / sqrt(v + eps) + b,   m, v: mean and variance of the channel over the
               batch and all places; meanwhile running averages of m and v are kept
    test       the same with the running averages, so that no example depends on another

With r = 1 / sqrt(v + eps), n = r (x - m), d = dL/dy, and means over batch and places:

    dL/db = sum d,   dL/dg = sum d n,   dL/dx = g r (d - mean d - n mean(d n))

The state dict is that of torch.nn.BatchNorm1d and 2d.

Source: Ioffe and Szegedy 2015, "Batch Normalization", arXiv:1502.03167, algorithms 1 and 2 and the
gradients between them (section 3).
Differs from the paper: running averages are exponential, in place of averages over batches taken
after training; the gradients are gathered into one line.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from orrery.catalog import System

SYSTEM = System(
    stem="batch_norm", area="foundations", title="Batch normalisation", year=2015,
    papers=("arXiv:1502.03167",), builds_on=(), realises=("batch-norm",),
)  # fmt: skip

Maps = Float[Tensor, "b c *places"]
Channels = Float[Tensor, " c"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchNormConfig:
    """Channels, and two constants."""

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    """Share of the newest batch in the running averages."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if self.eps <= 0:
            raise ValueError(f"eps must be above 0, got {self.eps}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be from 0 to 1, got {self.momentum}")


class BatchNorm(nn.Module):
    """A layer that normalises dimension 1 of its input."""

    running_mean: Channels
    running_var: Channels
    num_batches_tracked: Int64[Tensor, ""]

    def __init__(self, config: BatchNormConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.ones(config.channels))
        self.bias = nn.Parameter(torch.zeros(config.channels))
        self.register_buffer("running_mean", torch.zeros(config.channels))
        self.register_buffer("running_var", torch.ones(config.channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Maps) -> Maps:
        """Normalise with the batch's statistics in training, with the running ones else.

        Raises:
            ValueError: in training a channel has one number only, whose variance is 0.
        """
        if not self.training:
            scale = self.weight * (self.running_var + self.config.eps).rsqrt()
            return scale_channels(x, scale, self.bias - scale * self.running_mean)
        if x.numel() // x.shape[1] < 2:
            raise ValueError(f"x must have two numbers a channel in training, got {tuple(x.shape)}")
        self._follow(x.detach())
        given = (x, self.weight, self.bias, self.config.eps)
        y: Tensor = BatchNormFunction.apply(*given)  # type: ignore[no-untyped-call]
        return y

    def _follow(self, x: Maps) -> None:
        """Move the running averages; the variance is the unbiased one (algorithm 2, line 10)."""
        others = other_dimensions(x)
        self.running_mean.lerp_(x.mean(others), self.config.momentum)
        self.running_var.lerp_(x.var(others, correction=1), self.config.momentum)
        self.num_batches_tracked += 1


class BatchNormFunction(torch.autograd.Function):
    """Algorithm 1 and its gradients by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """Normalise; what the way back needs is the normalised input, not the input."""
        variance, mean = torch.var_mean(x, other_dimensions(x), correction=0)
        rate = (variance + eps).rsqrt()
        normal = scale_channels(x, rate, -rate * mean)
        ctx.save_for_backward(normal, weight, rate)
        return scale_channels(normal, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The three gradients of the docstring."""
        normal, weight, rate = ctx.saved_tensors
        others, count = other_dimensions(d), d.numel() // d.shape[1]
        for_bias, for_weight = d.sum(others), (d * normal).sum(others)
        centred = d - scale_channels(normal, for_weight / count, for_bias / count)
        return scale_channels(centred, weight * rate, None), for_weight, for_bias, None


def other_dimensions(x: Tensor) -> list[int]:
    """All but that of the channels."""
    return [0, *range(2, x.ndim)]


def scale_channels(x: Maps, scale: Channels, shift: Channels | None) -> Maps:
    """`scale` x + `shift`, each channel with its own."""
    shape = [1, -1, *[1] * (x.ndim - 2)]
    y = x * scale.reshape(shape)
    return y if shift is None else y + shift.reshape(shape)
