"""A 3 x 3 convolution with a quarter of the multiplications.

Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks",
arXiv:1509.09308, sections 4.1 to 4.3: F(4 x 4, 3 x 3). The matrices are theirs.

An image is cut into tiles of 4 x 4 outputs, each of which needs 6 x 6 inputs d. Taken apart by a
fixed matrix B on both sides, the tile meets the filter g in 36 plain products instead of 144:

    y = A' [ (G g G') * (B' d B) ] A

Over all tiles and channels, each of the 36 places is one matrix product, and the matrices cost
only additions. The gradients are the same formula read backwards. What is paid: rounding errors
about four times those of the direct sum, still in the fifth decimal.

Symbols: c input channels, o outputs, T tiles; d a tile of the image, v = B' d B; g a filter,
u = G g G'; m = v u.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.nn.winograd_products import (
    Filters,
    Places,
    convolve_tiles,
    convolve_tiles_backward,
    filters_apart,
    filters_apart_backward,
)

Images = Float[Tensor, "b c y x"]

FEWEST_CHANNELS = 32  # below it the additions cost more than the saved products


class Conv3x3(nn.Conv2d):
    """A convolution that keeps rows and columns; by tiles where that is faster.

    That is for float32 on a CPU, an image in channels_last memory, and channels enough.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._apart: Places | None = None

    def forward(self, x: Images) -> Float[Tensor, "b o y x"]:
        """The convolved image."""
        if not tiles_pay(x, self.out_channels):
            return super().forward(x)
        assert self.bias is not None
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            convolved: Tensor = Winograd.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return convolved
        apart = filters_apart(self.weight) if self._apart is None else self._apart
        return convolve_tiles(x, apart, self.bias)


@contextmanager
def frozen_filters(model: nn.Module) -> Iterator[None]:
    """Take every filter of the model apart once, and not at each call.

    Within the block the weights must not change, and nothing has a gradient.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Conv3x3)]
    try:
        with torch.no_grad():
            for layer in layers:
                layer._apart = filters_apart(layer.weight)
            yield
    finally:
        for layer in layers:
            layer._apart = None


def tiles_pay(x: Images, outputs: int) -> bool:
    """Whether tiles are the faster way to convolve x."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and min(x.shape[1], outputs) >= FEWEST_CHANNELS
        and x.shape[2] % 4 == x.shape[3] % 4 == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )


class Winograd(torch.autograd.Function):
    """The convolution by tiles, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Images, weight: Filters, bias: Float[Tensor, " o"]) -> Tensor:
        """Convolve x; rows and columns multiples of 4, channels_last memory."""
        apart = filters_apart(weight)
        ctx.save_for_backward(x, apart)
        return convolve_tiles(x, apart, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of x, weight and bias, from that of the output."""
        x, apart = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        x_gradient, apart_gradient = convolve_tiles_backward(x, apart, gradient)
        weight_gradient = filters_apart_backward(apart_gradient)
        return x_gradient, weight_gradient, gradient.sum(dim=(0, 2, 3))
