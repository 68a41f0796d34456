"""The filters of Winograd's convolution, taken apart into 36 places each, and back.

Source: Lavin and Gray 2015, arXiv:1509.09308, section 4.3; symbols as in `winograd`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Filters = Float[Tensor, "o c 3 3"]
Places = Float[Tensor, "36 c o"]  # one matrix for each place in a tile

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
