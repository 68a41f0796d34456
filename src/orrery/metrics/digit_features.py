"""A small network that reads digits, and the features it reads them by.

Distances between pictures mean little pixel by pixel. FID (Heusel et al. 2017, arXiv:1706.08500)
compares them in a layer of a network trained on photographs; for digits this one, trained on
digits, stands in: it has a handful of features, so that a few dozen pictures are enough to tell
their mean and covariance.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from orrery.metrics.frechet import frechet_distance, moments
from orrery.metrics.two_sample import mmd_test

Images = Float[Tensor, "_ 1 y x"]  # from -1 (paper) to 1 (ink)
CLASSES = 10


class DigitFeatures(nn.Module):
    """Two convolutions, each followed by half the rows and columns; features; ten scores."""

    def __init__(self, size: int, features: int = 16, width: int = 16) -> None:
        """A reader of square pictures.

        Args:
            size: rows and columns of a picture, at least 4.
            features: how many numbers describe it.
            width: channels of the first convolution; the second has twice as many.

        Raises:
            ValueError: a size is too small.
        """
        if size < 4 or min(features, width) < 1:
            raise ValueError(
                f"size must be at least 4, features and width at least 1, got {size}, {features} "
                f"and {width}"
            )
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.reduce = nn.Linear(2 * width * (size // 4) ** 2, features)
        self.head = nn.Linear(features, CLASSES)

    def features(self, x: Images) -> Float[Tensor, "_ f"]:
        """What each picture is like: the layer before the scores."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.reduce(x.flatten(1)))

    def forward(self, x: Images) -> Float[Tensor, "_ 10"]:
        """The score of each digit."""
        return self.head(self.features(x))


@dataclass(frozen=True, kw_only=True, slots=True)
class DigitComparison:
    """How drawn digits compare with real ones, in a reader's features."""

    distance: float
    """Fréchet distance, in units of the real features' variance."""
    p: float
    """Of the two-sample test."""
    classes: float
    """How many equally frequent digits would be as even as those read: 1 to 10."""


@torch.no_grad()
def compare_digits(
    reader: DigitFeatures, drawn: Images, real: Images, *, permutations: int, rng: Generator
) -> DigitComparison:
    """Compare drawings with real digits that the reader was not trained on."""
    features, target = reader.features(drawn).double(), reader.features(real).double()
    read = reader(drawn).argmax(dim=1).bincount(minlength=CLASSES) / len(drawn)
    return DigitComparison(
        distance=frechet_distance(features, target) / float(moments(target)[1].trace()),
        p=mmd_test(features, target, permutations=permutations, rng=rng).p,
        classes=float(torch.special.entr(read).sum().exp()),
    )
