"""HOG: histograms of oriented gradients, features of a picture made by hand.

    gradient    central differences [-1, 0, 1] down and across; 0 at the edge
    cells       every pixel votes, with its gradient's length, for one of the bins that its angle
                (0 to 180 degrees, no sign) falls in; a cell's histogram is the mean of the votes
    blocks      overlapping squares of cells, one cell apart; a block's histograms are normalised
                together: to length 1, cut off at 0.2, to length 1 again (L2-Hys)

Source: Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection", CVPR,
sections 6.2 to 6.4.
Differs from the paper: a vote goes to one bin and one cell, not shared out among neighbours; no
Gaussian window over a block; grey pictures. These are scikit-image's choices, too.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="hog", area="foundations", title="Histograms of oriented gradients", year=2005,
    papers=("Dalal and Triggs 2005",), builds_on=(), realises=("hog",),
)  # fmt: skip

Pictures = Float[Tensor, "n y x"]
Histograms = Float[Tensor, "n rows columns bins"]
EPS = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class HogConfig:
    """Bins of a histogram, pixels of a cell, cells of a block."""

    bins: int = 9
    cell: int = 8
    """Pixels on the side of a cell."""
    block: int = 2
    """Cells on the side of a block."""
    ceiling: float = 0.2
    """Where a normalised histogram is cut off."""

    def __post_init__(self) -> None:
        for name in ("bins", "cell", "block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.ceiling <= 1:
            raise ValueError(f"ceiling must be above 0 and at most 1, got {self.ceiling}")


def hog(pictures: Pictures, config: HogConfig) -> Float[Tensor, "n features"]:
    """The features of every picture: blocks row by row, in each its cells row by row.

    Raises:
        ValueError: a picture is smaller than one block.
    """
    side = config.cell * config.block
    if min(pictures.shape[1:]) < side:
        raise ValueError(
            f"pictures must have at least {side} x {side} pixels, got {tuple(pictures.shape[1:])}"
        )
    return normalised_blocks(cell_histograms(pictures, config), config)


def gradients(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Differences down and across; 0 where a neighbour is missing."""
    down, across = torch.zeros_like(pictures), torch.zeros_like(pictures)
    down[:, 1:-1] = pictures[:, 2:] - pictures[:, :-2]
    across[:, :, 1:-1] = pictures[:, :, 2:] - pictures[:, :, :-2]
    return down, across


def cell_histograms(pictures: Pictures, config: HogConfig) -> Histograms:
    """The mean vote for each bin in each cell; pixels beyond the last whole cell have none."""
    down, across = gradients(pictures)
    length = torch.hypot(down, across)
    degrees = torch.rad2deg(torch.atan2(down, across)) % 180
    bins = (degrees * config.bins / 180).long() % config.bins  # 180 itself, by rounding, is 0
    votes = F.one_hot(bins, config.bins) * length[..., None]
    rows, columns = (size // config.cell for size in pictures.shape[1:])
    votes = votes[:, : rows * config.cell, : columns * config.cell]
    cells = votes.unflatten(2, (columns, config.cell)).unflatten(1, (rows, config.cell))
    return cells.mean((2, 4))  # n, rows, pixels, columns, pixels, bins before the mean


def normalised_blocks(cells: Histograms, config: HogConfig) -> Float[Tensor, "n features"]:
    """All blocks of cells, each normalised by L2-Hys."""
    blocks = cells.unfold(1, config.block, 1).unfold(2, config.block, 1)
    blocks = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3)  # n, rows, columns, numbers of a block
    blocks = _to_length_one(blocks).clamp(max=config.ceiling)
    return _to_length_one(blocks).flatten(1)


def features(rows: int, columns: int, config: HogConfig) -> int:
    """How many numbers describe a picture of so many pixels."""
    sides = (size // config.cell - config.block + 1 for size in (rows, columns))
    return math.prod(sides) * config.block**2 * config.bins


def _to_length_one(blocks: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    return blocks / (blocks.square().sum(-1, keepdim=True) + EPS**2).sqrt()
