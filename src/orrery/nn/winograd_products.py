"""The products of Winograd's convolution: 36 matrices of filters times 36 of tiles, and back.

Source: Lavin and Gray 2015, arXiv:1509.09308, section 4.3; symbols as in `winograd`.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.nn.winograd_tiles import (
    Pixels,
    Tiles,
    put_together,
    put_together_backward,
    take_apart,
    take_apart_backward,
)

Images = Float[Tensor, "b c y x"]

Filters = Float[Tensor, "o c 3 3"]
Places = Float[Tensor, "36 c o"]  # one matrix for each place in a tile
Matrices = Float[Tensor, "36 T c"]

CHUNK = 1_000_000  # numbers in the tiles that are worked on at a time: they stay in the cache
FILTER = torch.tensor(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], dtype=torch.float64,
)  # fmt: skip
"""G: 3 weights of a filter to 6 places."""


def filters_apart(weight: Filters) -> Places:
    """G g G' for every filter."""
    g = FILTER.to(weight.dtype)
    lines = weight.permute(2, 3, 1, 0).reshape(3, -1)  # [3, 3 c o]
    lines = (g @ lines).unflatten(1, (3, -1)).transpose(0, 1).reshape(3, -1)  # [3, 6 c o]
    places = (g @ lines).unflatten(1, (6, -1)).transpose(0, 1)  # [6 rows, 6 columns, c o]
    return places.reshape(36, weight.shape[1], weight.shape[0])


def filters_apart_backward(gradient: Places) -> Filters:
    """The gradient of the filters, from that of G g G'."""
    g, (c, o) = FILTER.to(gradient.dtype).T, gradient.shape[1:]
    lines = (g @ gradient.reshape(6, -1)).unflatten(1, (6, -1)).transpose(0, 1).reshape(6, -1)
    weights = (g @ lines).reshape(3, 3, c, o)  # [column, row, c, o]
    return weights.permute(3, 2, 1, 0)


def convolve_tiles(x: Images, apart: Places, bias: Float[Tensor, " o"]) -> Tensor:
    """The convolution of x with filters already taken apart."""
    b, _, rows, columns = x.shape
    outputs = apart.shape[2]
    y = torch.empty((b, outputs, rows, columns), dtype=x.dtype, memory_format=torch.channels_last)
    source, target = pixels(x), pixels(y)
    for some, v, m in chunks(x, outputs):
        take_apart(source[some], tiles(v))
        torch.bmm(v, apart, out=m)
        put_together(tiles(m), bias.detach().numpy(), target[some])
    return y


def convolve_tiles_backward(
    x: Images, apart: Places, gradient: Float[Tensor, "b o y x"]
) -> tuple[Tensor, Places]:
    """The gradients of x and of the filters taken apart."""
    outputs = apart.shape[2]
    x_gradient, apart_gradient = torch.zeros_like(x), torch.zeros_like(apart)
    source, above, target = pixels(x), pixels(gradient), pixels(x_gradient)
    for some, v, m_gradient in chunks(x, outputs):
        take_apart(source[some], tiles(v))
        put_together_backward(above[some], tiles(m_gradient))
        apart_gradient.baddbmm_(v.transpose(1, 2), m_gradient)
        torch.bmm(m_gradient, apart.transpose(1, 2), out=v)
        take_apart_backward(tiles(v), target[some])
    return x_gradient, apart_gradient


def chunks(x: Images, outputs: int) -> Iterator[tuple[slice, Matrices, Matrices]]:
    """Images that are worked on together, and room for their v and m.

    A matrix has a row for each tile; in memory the 36 rows of a tile are together.
    """
    b, inputs, rows, columns = x.shape
    each = rows * columns // 16  # tiles of an image
    size = min(b, max(1, CHUNK // (36 * each * (inputs + outputs))))
    v = x.new_empty(size * each, 36, inputs).transpose(0, 1)
    m = x.new_empty(size * each, 36, outputs).transpose(0, 1)
    for start in range(0, b, size):
        stop = min(start + size, b)
        count = (stop - start) * each
        yield slice(start, stop), v[:, :count], m[:, :count]


def tiles(matrices: Matrices) -> Tiles:
    """The same numbers, tile by tile."""
    return matrices.transpose(0, 1).unflatten(1, (6, 6)).numpy()


def pixels(images: Images) -> Pixels:
    """The same numbers, pixel by pixel."""
    return images.detach().permute(0, 2, 3, 1).numpy()
