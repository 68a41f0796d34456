"""GPTQ: round a matrix column by column, and let the columns to come make up for each error.

Rounding should change a layer's outputs little, not its weights: |W X - Q X|^2 is a quadratic form
of W - Q whose Hessian H = 2 X X^T is the same for all rows. When a column is rounded, the best the
columns that are still free can do is to move by -error / [H^-1]_jj times row j of H^-1.

Source: Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers", arXiv:2210.17323, algorithm 1: rows of the inverse Hessian
from a Cholesky factor, updates right of a block put off to its end, dampening by a hundredth of
the mean diagonal; steps of a group found when its turn comes; the order by falling diagonal is an
option of the authors' code.
Differs from the paper: with that order, steps are found on the weights as they were; H is of the
mean over samples, which changes nothing; a batch of inputs is given whole.

Symbols: X inputs as columns (here rows), U upper with U^T U = H^-1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System
from orrery.systems.efficiency.quantisation import BitGrid, Steps

SYSTEM = System(
    stem="gptq", area="efficiency", title="GPTQ", year=2022,
    papers=("arXiv:2210.17323",), builds_on=("quantisation",), realises=(),
)  # fmt: skip

Matrix = Float[Tensor, "o i"]
Inputs = Float[Tensor, "n i"]
Square = Float[Tensor, "i i"]
Columns = Float[Tensor, "i o"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GptqConfig:
    """How a layer is rounded."""

    dampening: float = 0.01
    """Added to the diagonal of H, in units of its mean."""
    block: int = 128
    """Columns after which those to the right are brought up to date."""
    act_order: bool = False
    """Whether columns with large inputs are rounded first."""

    def __post_init__(self) -> None:
        if not 0 < self.dampening < float("inf"):
            raise ValueError(f"dampening must be above 0, got {self.dampening}")
        if self.block < 1:
            raise ValueError(f"block must be at least 1, got {self.block}")


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseHessian:
    """What rounding needs of a layer's inputs, for any grid."""

    factor: Square
    """U, in the order in which columns are rounded."""
    order: Int[Tensor, " i"]
    config: GptqConfig


def hessian(inputs: Inputs) -> Square:
    """H of the mean squared error of a layer with such inputs."""
    return inputs.T @ inputs * (2 / len(inputs))


def prepare(h: Square, config: GptqConfig) -> InverseHessian:
    """Order the columns and factor the inverse Hessian."""
    size = h.diagonal()
    order = torch.arange(len(h), device=h.device)
    if config.act_order:
        order = size.argsort(descending=True, stable=True)
    mean = float(size.mean())
    damped = h[order][:, order].clone()
    damped.diagonal().add_(config.dampening * (mean if mean > 0 else 1.0))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return InverseHessian(
        factor=torch.linalg.cholesky(inverse, upper=True), order=order, config=config
    )  # fmt: skip


def gptq(weight: Matrix, prepared: InverseHessian, grid: BitGrid) -> Matrix:
    """The weights on their grid.

    Args:
        weight: of a linear layer; left as it is.
        prepared: from the layer's inputs.
        grid: what each weight may become.

    Raises:
        ValueError: a row does not split into groups.
    """
    width, order = weight.shape[1], prepared.order
    group = grid.group or width
    groups = grid.groups(weight)
    fixed = grid.fit(groups) if prepared.config.act_order else None
    left = weight.T[order].contiguous()  # columns of W are rows here: close together in memory
    made = torch.empty_like(left)
    for start in range(0, width, group):
        steps = fixed or grid.fit(left[start : start + group].T)
        for begin in range(start, start + group, prepared.config.block):
            end = min(begin + prepared.config.block, start + group)
            where = order[begin:end] // group if fixed else None
            _round_block(left, made, begin, end, prepared.factor, grid, steps, where)
    result = torch.empty_like(made)
    result[order] = made
    return result.T.contiguous()


def _round_block(
    left: Columns, made: Columns, begin: int, end: int, factor: Square, grid: BitGrid, steps: Steps,
    groups: Tensor | None,
) -> None:  # fmt: skip
    """Round columns `begin` to `end`, and bring all later ones up to date.

    Args:
        left: the columns as they are by now; those to the right are changed.
        made: rounded columns are written here.
        begin: first column.
        end: column after the last.
        factor: U.
        grid: of the values.
        steps: of the group that the block is in, or of all groups.
        groups: the group of each column, if steps are of all.
    """
    columns, errors = left[begin:end], left.new_empty(end - begin, left.shape[1])
    for j in range(end - begin):
        row = factor[begin + j, begin + j : end]
        at = steps if groups is None else _of_group(steps, int(groups[j]))
        old = columns[j, :, None]
        new = grid.values(grid.codes(old, at), at)
        made[begin + j] = new[:, 0]
        torch.div((old - new)[:, 0], row[0], out=errors[j])
        columns[j:].addr_(row, errors[j], alpha=-1)
    left[end:].addmm_(factor[begin:end, end:].T, errors, alpha=-1)


def _of_group(steps: Steps, group: int) -> Steps:
    """The steps of one group, a row each."""
    zero = steps.zero[:, group] if steps.zero.ndim else steps.zero
    return Steps(steps.scale[:, group], zero)
