"""Sawtooths: functions that cost a deep ReLU net 2k units and a shallow one 2^k.

The tent m(x) = 2 relu(x) - 4 relu(x - 1/2) folds [0, 1] in two. Folded k times it has 2^(k-1) teeth
and 2^k straight pieces, and each fold costs one layer of two units. With one hidden layer every
unit adds at most one bend, so 2^k pieces take 2^k units when the line through 0 is counted.

Source: Telgarsky 2015, "Representation Benefits of Deep Feedforward Networks", arXiv:1509.08101,
section 2; Telgarsky 2016, arXiv:1602.04485, lemmas 3.10 and 3.3.
Differs from the papers: both constructions are written out as weights; the papers prove bounds on
the error, of which `pieces` here is the reason.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="sawtooth", area="foundations", title="Sawtooths: what depth buys", year=2015,
    papers=("arXiv:1509.08101", "arXiv:1602.04485"), builds_on=(), realises=(),
)  # fmt: skip

Numbers = Float[Tensor, " n"]
Column = Float[Tensor, "n 1"]


def sawtooth(x: Numbers, folds: int) -> Numbers:
    """The tent folded so many times, in closed form, for x from 0 to 1.

    Raises:
        ValueError: folds is below 1.
    """
    _check(folds)
    phase = (x * 2 ** (folds - 1)) % 1
    return 1 - (2 * phase - 1).abs()


class PiecewiseLinear(nn.Module):
    """A ReLU net from one number to one number; with no hidden widths it is a line.

    `units` are the hidden ones of all layers.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        """Make a net with hidden layers of these widths.

        Raises:
            ValueError: a width is below 1.
        """
        super().__init__()
        if widths and min(widths) < 1:
            raise ValueError(f"widths must be at least 1, got {widths}")
        sizes = (1, *widths, 1)
        linears = [nn.Linear(i, o) for i, o in pairwise(sizes)]
        self.hidden, self.last = nn.ModuleList(linears[:-1]), linears[-1]
        self.units = sum(widths)

    def forward(self, x: Column) -> Column:
        """The function of every number."""
        for layer in self.hidden:
            x = layer(x).relu()
        return self.last(x)


def deep_sawtooth(folds: int) -> PiecewiseLinear:
    """`folds` layers of two units that make the sawtooth exactly."""
    _check(folds)
    net = PiecewiseLinear((2,) * folds)
    tent, bends = torch.tensor([2.0, -4.0]), torch.tensor([0.0, -0.5])
    weights = {"last.weight": tent[None], "last.bias": torch.zeros(1)}
    for i in range(folds):  # both units see x, then the tent made by the two units below
        weights[f"hidden.{i}.weight"] = tent.expand(2, 2) if i else torch.ones(2, 1)
        weights[f"hidden.{i}.bias"] = bends
    net.load_state_dict(weights)
    return net


def shallow_sawtooth(folds: int) -> PiecewiseLinear:
    """One layer of 2^folds units that makes the same: a line and a bend for every corner."""
    _check(folds)
    count = 2**folds
    net = PiecewiseLinear((count,))
    corners = torch.arange(count)
    jumps = 2.0 * count * (-1.0) ** corners
    jumps[0] /= 2  # the first slope is no bend: half as much
    net.load_state_dict({
        "hidden.0.weight": torch.ones(count, 1), "hidden.0.bias": -corners / count,
        "last.weight": jumps[None], "last.bias": torch.zeros(1),
    })  # fmt: skip
    return net


def most_pieces(widths: tuple[int, ...]) -> int:
    """Straight pieces that no net of these widths exceeds: (w + 1) for every layer, multiplied."""
    most = 1
    for width in widths:
        most *= width + 1
    return most


def pieces(values: Numbers, tolerance: float = 1e-6) -> int:
    """Straight pieces of a function on an even grid, one more than its bends.

    Corners between two points of the grid count once; the grid must be finer than the pieces.
    """
    bent = values.diff().diff().abs() > tolerance
    starts = bent & ~torch.cat([torch.zeros_like(bent[:1]), bent[:-1]])
    return 1 + int(starts.sum())


def _check(folds: int) -> None:
    if folds < 1:
        raise ValueError(f"folds must be at least 1, got {folds}")
