"""A convolution whose filters learn fast where the maps are small.

Source: Chellapilla, Puri, Simard 2006, "High Performance Convolutional Neural Networks for Document
Processing": a convolution as one matrix product, of the patches it looks at.

The gradient of the filters sums over all places of all maps. On a processor with matrix units for
bfloat16, the library that convolves takes it apart in a way that wants large maps; on maps of a
few places it is many times slower than forward. Written as a product it is not:

    dW = G' P,   G the gradients, a row each place; P the patches, a row each place

P repeats every number as often as a filter has places, which small maps can afford. Forward and
the gradient of the input stay as they are.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Maps = Float[Tensor, "b inputs y x"]
NewMaps = Float[Tensor, "b outputs rows columns"]
Filters = Float[Tensor, "outputs inputs height width"]
Pair = tuple[int, int]

MOST_PLACES = 16  # of the new maps; with more of them copying the patches costs what is gained


class SmallMapConv(nn.Conv2d):
    """A convolution without bias; by the product where that is faster, else torch's."""

    def __init__(
        self, inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(inputs, outputs, side, stride, padding, bias=False)

    def forward(self, x: Maps) -> NewMaps:
        """The convolved maps."""
        x, weight = as_autocast(x), as_autocast(self.weight)
        stride, padding = (self.stride[0], self.stride[1]), (int(self.padding[0]),) * 2
        if torch.is_grad_enabled() and weight.requires_grad and product_pays(x, self):
            convolved: Tensor = ByProduct.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
            return convolved
        return F.conv2d(x, weight, None, stride, padding)


def as_autocast(x: Tensor) -> Tensor:
    """In the type in which autocast would convolve it."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return x.to(torch.get_autocast_dtype("cpu"))
    return x


def product_pays(x: Maps, layer: nn.Conv2d) -> bool:
    """Whether the maps that come out are small, and bfloat16 on a processor."""
    side, stride, pad = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    rows, columns = ((size + 2 * pad - side) // stride + 1 for size in x.shape[2:])
    small = rows * columns <= MOST_PLACES
    return small and x.device.type == "cpu" and x.dtype == torch.bfloat16


def filter_gradient(
    gradient: NewMaps, x: Maps, sides: Pair, stride: Pair, padding: Pair
) -> Filters:
    """The gradient of the filters, as a product; laid out with channels last.

    Args:
        gradient: of what came out.
        x: what went in.
        sides: of a filter.
        stride: of the convolution.
        padding: of the convolution.
    """
    outputs, (rows, columns) = gradient.shape[1], gradient.shape[2:]
    (up, left), inputs = padding, x.shape[1]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, up, up))  # (b, y, x, inputs)
    b, y, z, c = x.stride()
    patches = x.as_strided(
        (len(x), rows, columns, *sides, inputs), (b, stride[0] * y, stride[1] * z, y, z, c)
    )
    places = len(x) * rows * columns
    g = gradient.permute(0, 2, 3, 1).reshape(places, outputs)
    return (g.T @ patches.reshape(places, -1)).view(outputs, *sides, inputs).permute(0, 3, 1, 2)


class ByProduct(torch.autograd.Function):
    """The convolution with the gradient of its filters as a product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """The convolved maps."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """The gradients of the input and of the filters."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1,
                (True, False, False),
            )[0]  # fmt: skip
        sides = (weight.shape[2], weight.shape[3])
        return to_input, filter_gradient(gradient, x, sides, ctx.stride, ctx.padding), None, None
