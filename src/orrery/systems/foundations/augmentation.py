"""Data augmentation: crops, flips, coloured light and cutout for whole batches at once.

Every picture of a batch gets its own draw from the generator, so a batch is a pure function of
generator and pictures. `augment` puts the four together; contrastive views are two calls of it.

    crop      pad by p pixels on each side, cut the old size out at a random place
    flip      mirror left and right with probability 1/2
    light     add P (a * l) to all pixels of a picture: P, l the principal directions and standard
              deviations of the colours of the training set, a three draws of N(0, spread^2)
    cutout    a square of random centre becomes one value; it may hang over the edge

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", section 4.1 (crops, flips, light); He et al. 2015, arXiv:1512.03385, section 4.2 (crops
after padding); DeVries and Taylor 2017, arXiv:1708.04552 (cutout).
Differs from the papers: Krizhevsky et al. cut crops from larger pictures instead of padded ones,
and write the light with eigenvalues; l here are their square roots, the standard deviations, so
that spread is a share of how much the colours vary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="augmentation", area="foundations", title="Data augmentation", year=2012,
    papers=("Krizhevsky, Sutskever, Hinton 2012", "arXiv:1512.03385", "arXiv:1708.04552"),
    builds_on=(), realises=("data-augmentation",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Places = Int64[Tensor, " b"]
Chosen = Bool[Tensor, " b"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """How far each of the four goes; 0 turns it off."""

    padding: int = 2
    """Pixels that a crop may move a picture."""
    flip: float = 0.5
    """Probability of a mirror image."""
    light: float = 0.0
    """Spread of the light, as a share of how much the colours vary; the paper has 0.1."""
    cutout: int = 0
    """Side of the square that is cut out, in pixels."""

    def __post_init__(self) -> None:
        for name in ("padding", "light", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must be from 0 to 1, got {self.flip}")


@dataclass(frozen=True, slots=True)
class Palette:
    """The principal directions of a set's colours (columns), and the deviation along each."""

    directions: Float[Tensor, "c c"]
    deviations: Float[Tensor, " c"]


def augment(
    images: Images, config: AugmentationConfig, generator: Generator, palette: Palette | None = None
) -> Images:
    """Crop, flip, light and cutout, in this order.

    Args:
        images: the pictures; padding is 0.
        config: how far each goes.
        generator: decides everything; on the device of the pictures.
        palette: of the training set; needed for light.

    Raises:
        ValueError: light is asked for without a palette.
    """
    if config.padding:
        images = random_crop(images, config.padding, generator)
    if config.flip:
        images = random_flip(images, config.flip, generator)
    if config.light:
        if palette is None:
            raise ValueError("palette must be given where light is above 0")
        images = random_light(images, palette, config.light, generator)
    if config.cutout:
        images = random_cutout(images, config.cutout, generator)
    return images


def random_crop(images: Images, padding: int, generator: Generator) -> Images:
    """Pad with 0 and cut the old size out; all (2 padding + 1)^2 places are as likely."""
    padded = F.pad(images, (padding,) * 4)
    rows, columns = (_below(2 * padding + 1, images, generator) for _ in range(2))
    return crop(padded, rows, columns, images.shape[2], images.shape[3])


def crop(images: Images, rows: Places, columns: Places, height: int, width: int) -> Tensor:
    """From each picture the window whose upper left corner is at its row and column."""
    steps = torch.arange(max(height, width), device=images.device)
    y = rows[:, None, None] + steps[:height, None]
    x = columns[:, None, None] + steps[:width]
    b = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[b, y, x].permute(0, 3, 1, 2)


def random_flip(images: Images, probability: float, generator: Generator) -> Images:
    """Mirror left and right, each picture for itself."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < probability
    return flip(images, chosen)


def flip(images: Images, chosen: Chosen) -> Images:
    """Mirror the chosen pictures."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def principal_colours(images: Images) -> Palette:
    """The palette of a set: principal components of the colours of all its pixels."""
    colours = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    centred = colours - colours.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    return Palette(directions, variances.clamp(min=0).sqrt())


def random_light(images: Images, palette: Palette, spread: float, generator: Generator) -> Images:
    """One colour drawn for each picture, added to all of its pixels."""
    size = (len(images), images.shape[1])
    a = torch.randn(size, generator=generator, device=images.device, dtype=images.dtype)
    return images + (spread * a * palette.deviations @ palette.directions.T)[:, :, None, None]


def random_cutout(images: Images, side: int, generator: Generator) -> Images:
    """A square around a random pixel becomes 0."""
    rows = _below(images.shape[2], images, generator)
    columns = _below(images.shape[3], images, generator)
    return cutout(images, rows, columns, side)


def cutout(images: Images, rows: Places, columns: Places, side: int, value: float = 0.0) -> Images:
    """Fill the square of `side` pixels that is centred at each picture's row and column."""
    first = side // 2  # an even square has its centre at the lower right of the middle
    y = torch.arange(images.shape[2], device=images.device) - rows[:, None] + first
    x = torch.arange(images.shape[3], device=images.device) - columns[:, None] + first
    inside = ((y >= 0) & (y < side))[:, :, None] & ((x >= 0) & (x < side))[:, None, :]
    return images.masked_fill(inside[:, None], value)


def _below(count: int, images: Images, generator: Generator) -> Places:
    """A whole number from 0 to count - 1 for every picture."""
    return torch.randint(count, (len(images),), generator=generator, device=images.device)
