"""Quantisation: weights as small whole numbers times a step that neighbours share.

Two ways lead there. Rounding after training takes the nearest number of the grid; better choices
for the same grid are in `gptq` and `awq`. Training with rounded weights in the forward pass lets
the other weights learn to live with it; the gradient passes through the rounding as if it were not
there.

Source: the affine grid r = S (q - Z) is equation 1 of Jacob et al. 2017, arXiv:1712.05877; steps
for groups of neighbours in a row as in Frantar et al. 2022 (GPTQ), arXiv:2210.17323, section 4;
three values round(w / mean |w|) in [-1, 1]: Ma et al. 2024 (BitNet b1.58), arXiv:2402.17764,
equations 1 to 3; two values sign(w) mean |w|: Rastegari et al. 2016 (XNOR-Net), arXiv:1603.05279,
section 3.1; gradients straight through: Bengio et al. 2013, arXiv:1308.3432.
Differs from the papers: only weights are rounded, activations are not; each row, or group of a
row, has a scale of its own where BitNet has one a matrix; steps are kept in the weights' own
format, and counted as 16 bits; training with rounded weights adds no norms.

Symbols: q a code, S the step, Z the code of zero.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orrery.catalog import System

SYSTEM = System(
    stem="quantisation", area="efficiency", title="Quantisation", year=2022,
    papers=("arXiv:1712.05877", "arXiv:2402.17764", "arXiv:1603.05279", "arXiv:1308.3432"),
    builds_on=(), realises=("quantisation",),
)  # fmt: skip

Matrix = Float[Tensor, "o i"]
Weights = Float[Tensor, "*n g"]  # groups of neighbours, or any part of each
Codes = Float[Tensor, "*n g"]  # whole numbers

SCALE_BITS = 16


@dataclass(frozen=True, slots=True)
class Steps:
    """What the codes of each group are multiplied by, and the code that means zero."""

    scale: Tensor
    zero: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class BitGrid:
    """The numbers that a weight may become."""

    kind: Literal["asymmetric", "symmetric", "ternary", "binary"] = "asymmetric"
    """asymmetric: 2^bits values from a group's least weight to its greatest, zero among them;
    symmetric: 2^bits - 1 values, as many below zero as above; ternary: -1, 0, 1 times the mean
    size; binary: -1, 1 times it."""
    bits: int = 4
    """Of the first two kinds."""
    group: int | None = None
    """Neighbours of a row that share a step; all of the row if not given."""

    def __post_init__(self) -> None:
        if self.kind not in ("asymmetric", "symmetric", "ternary", "binary"):
            raise ValueError(
                f"kind must be asymmetric, symmetric, ternary or binary, got {self.kind!r}"
            )
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be in [2, 8], got {self.bits}")
        if self.group is not None and self.group < 1:
            raise ValueError(f"group must be at least 1, got {self.group}")

    @property
    def highest(self) -> int:
        """The greatest code; the least is 0 if asymmetric, else the opposite."""
        if self.kind == "asymmetric":
            return 2**self.bits - 1
        return 2 ** (self.bits - 1) - 1 if self.kind == "symmetric" else 1

    def bits_per_weight(self, width: int) -> float:
        """Bits that a weight takes in a row of `width`, its share of steps and zeros included."""
        values = {"ternary": 3, "binary": 2}.get(self.kind, 2**self.bits)
        shared = SCALE_BITS + (self.bits if self.kind == "asymmetric" else 0)
        return math.log2(values) + shared / (self.group or width)

    def fit(self, weights: Weights) -> Steps:
        """The steps for groups; one a group, with a last axis of 1."""
        zero = weights.new_zeros(())
        if self.kind == "asymmetric":
            low = weights.amin(-1, keepdim=True).clamp(max=0)
            high = weights.amax(-1, keepdim=True).clamp(min=0)
            scale = _above_zero((high - low) / self.highest)
            return Steps(scale, torch.round(-low / scale))
        if self.kind == "symmetric":
            size = weights.abs().amax(-1, keepdim=True)
        else:
            size = weights.abs().mean(-1, keepdim=True)
        return Steps(_above_zero(size / self.highest), zero)

    def codes(self, weights: Weights, steps: Steps) -> Codes:
        """The code of each weight: that of the nearest value."""
        if self.kind == "binary":
            return torch.where(weights >= 0, 1, -1).to(weights.dtype)
        low = 0 if self.kind == "asymmetric" else -self.highest
        return (torch.round(weights / steps.scale) + steps.zero).clamp(low, self.highest)

    def values(self, codes: Codes, steps: Steps) -> Weights:
        """What codes stand for."""
        return steps.scale * (codes - steps.zero)

    def groups(self, weight: Matrix) -> Float[Tensor, "o n g"]:
        """The groups of each row.

        Raises:
            ValueError: a row does not split into groups.
        """
        width = weight.shape[1]
        if width % (self.group or width):
            raise ValueError(f"group must divide the width {width}, got {self.group}")
        return weight.unflatten(1, (-1, self.group or width))


def _above_zero(scale: Tensor) -> Tensor:
    """A step for weights that are all zero: any will do."""
    return torch.where(scale > 0, scale, 1)


def rounded(weight: Matrix, grid: BitGrid) -> Matrix:
    """Each weight as the value of its group's grid that is nearest.

    Raises:
        ValueError: a row does not split into groups.
    """
    groups = grid.groups(weight)
    steps = grid.fit(groups)
    return grid.values(grid.codes(groups, steps), steps).flatten(1)


class StraightThrough(torch.autograd.Function):
    """Rounds forward; hands the gradient back as it came."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, grid: BitGrid) -> Tensor:  # noqa: D102
        return rounded(weight, grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        return gradient, None


class RoundedWeight(nn.Module):
    """A parametrisation: the layer sees rounded weights, the optimiser those behind them."""

    def __init__(self, grid: BitGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, weight: Matrix) -> Matrix:
        """The weights that the layer computes with."""
        made: Matrix = StraightThrough.apply(weight, self.grid)  # type: ignore[no-untyped-call]
        return made


def block_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a model's blocks by name: tables, heads and norms are left alone."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "." in name
    }


@torch.no_grad()
def round_model(model: nn.Module, grid: BitGrid) -> None:
    """Round the weights of all layers of the blocks, in place: quantisation after training."""
    for layer in block_layers(model).values():
        layer.weight.copy_(rounded(layer.weight, grid))


def train_rounded(model: nn.Module, grid: BitGrid) -> None:
    """From now on the layers of the blocks compute with rounded weights, and learn through them."""
    for layer in block_layers(model).values():
        parametrize.register_parametrization(layer, "weight", RoundedWeight(grid))


def keep_rounded(model: nn.Module) -> None:
    """Training is over: the rounded weights take the place of those behind them."""
    for layer in block_layers(model).values():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
