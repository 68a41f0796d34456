"""AWQ: weights that meet large inputs are rounded on a finer grid.

A column of W is multiplied by s before rounding and its input divided by s: what the layer computes
is the same, but the column's share of the rounding error shrinks as s grows, as long as the group's
step does not grow with it. s is the mean size of the input to a power alpha, and the power is the
one of a few that changes the layer's outputs least.

Source: Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and
Acceleration", arXiv:2306.00978, section 3.2, equations 4 and 5; scales around 1, by the root of the
greatest times the least, from the authors' code.
Differs from the paper: s is divided out of the rounded weights, so that a layer stays on its own;
the paper folds 1 / s into what comes before. Weights are not clipped. The error is that of one
layer, not of a block. alpha = 1 is tried too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.systems.efficiency.quantisation import BitGrid, rounded

SYSTEM = System(
    stem="awq", area="efficiency", title="AWQ", year=2023,
    papers=("arXiv:2306.00978",), builds_on=("quantisation",), realises=(),
)  # fmt: skip

Matrix = Float[Tensor, "o i"]
Inputs = Float[Tensor, "n i"]
Scales = Float[Tensor, " i"]

ALPHAS = tuple(i / 20 for i in range(21))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """The best scales, and what they lead to."""

    weight: Matrix
    """Rounded, the scales divided out again."""
    scales: Scales
    alpha: float
    error: float
    """Mean squared change of an output."""


def channel_scales(inputs: Inputs, alpha: float) -> Scales:
    """Mean size of each input to the power alpha, around 1; 1 everywhere if alpha is 0."""
    scales = inputs.abs().mean(0).pow(alpha).clamp(min=1e-4)  # an input may be zero throughout
    return scales / (scales.max() * scales.min()).sqrt()


def rounded_scaled(weight: Matrix, scales: Scales, grid: BitGrid) -> Matrix:
    """Round W diag(s), then divide by s: what stands before W if the input is left as it is.

    Raises:
        ValueError: a row does not split into groups.
    """
    return rounded(weight * scales, grid) / scales


def awq(weight: Matrix, inputs: Inputs, grid: BitGrid, alphas: Sequence[float] = ALPHAS) -> Scaled:
    """The weights on the grid of the best alpha; the first of equals.

    Args:
        weight: of a linear layer.
        inputs: of that layer.
        grid: what each scaled weight may become.
        alphas: powers to try; 0 is plain rounding.

    Raises:
        ValueError: there is no alpha, one is outside [0, 1], or a row does not split into groups.
    """
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        raise ValueError(f"alphas must be numbers in [0, 1], got {tuple(alphas)}")
    best: Scaled | None = None
    for alpha in alphas:
        scales = channel_scales(inputs, alpha)
        made = rounded_scaled(weight, scales, grid)
        error = float((inputs @ (made - weight).T).square().mean())
        if best is None or error < best.error:
            best = Scaled(weight=made, scales=scales, alpha=alpha, error=error)
    assert best is not None
    return best
