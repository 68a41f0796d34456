"""CNN of the speed-runs: a small convolutional net and its pictures, arranged to learn fast.

Six convolutions in three blocks, and what lets them do with few passes over the pictures:

- whitening   the first filters are not learnt: they are the principal directions of the patches
              of some pictures, each divided by its deviation, and once more with opposite sign,
              so that after the ReLU nothing is lost
- identity    of a convolution's filters the first ones pass their channel on; later layers
              see the picture from the first step
- norms       have no scale, only a bias; their statistics follow the weights closely
- shortcut    the second half of a block is added to the first
- flips       chosen for the first pass; every later pass mirrors all pictures again, so in two
              passes both faces of each are seen
- views       a picture is judged by six views: mirrored or not, moved by a pixel or not

Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498; the
whitening and the views go back to Page 2018, "How to Train Your ResNet"; the shortcut is that of
He et al. 2015, arXiv:1512.03385.
Differs from the papers: for grey pictures of 28 x 28 pixels. The first filters are larger and skip
every other place, and only the second and third block halve the picture; ReLU in place of GELU;
pictures are moved with 0, here black, coming in, not a reflection; shortcuts in every block.

Symbols: e_i, v_i the eigenvectors and eigenvalues of the mean of p p' over patches p; the first
filters are e_i / sqrt(v_i + EPSILON) and their negatives.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.small_maps import SmallMapConv
from orrery.systems.foundations.augmentation import flip

SYSTEM = System(
    stem="cnn_speedrun", area="foundations", title="CNN of the speed-runs", year=2024,
    papers=("arXiv:2404.00498", "Page 2018", "arXiv:1512.03385"), builds_on=("augmentation",),
    realises=(),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Maps = Float[Tensor, "b channels rows columns"]
NewMaps = Float[Tensor, "b outputs _ _"]
Filters = Float[Tensor, "outputs inputs _ _"]
Logits = Float[Tensor, "b classes"]
Chosen = Bool[Tensor, " b"]

EPSILON = 5e-4  # keeps directions that hardly vary from being blown up
SMALLEST = 8  # pixels a side: three times halved, one place is left


@dataclass(frozen=True, kw_only=True, slots=True)
class CnnSpeedrunConfig:
    """Sizes of the net, and how its norms keep statistics."""

    channels: int = 1
    classes: int = 10
    widths: tuple[int, int, int] = (32, 64, 128)
    """Channels of the three blocks."""
    patch: int = 4
    """Side of the first filters, even; they are applied at every other place."""
    shortcut: bool = True
    renewal: float = 0.4
    """Share of the norms' running statistics that each batch renews."""

    def __post_init__(self) -> None:
        for name in ("channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.widths) < 1:
            raise ValueError(f"widths must be at least 1, got {self.widths}")
        if self.patch < 2 or self.patch % 2:
            raise ValueError(f"patch must be even and at least 2, got {self.patch}")
        if not 0 < self.renewal <= 1:
            raise ValueError(f"renewal must be above 0 and at most 1, got {self.renewal}")


class TwoConvBlock(nn.Module):
    """Two convolutions, the first of which may halve the picture."""

    def __init__(
        self, inputs: int, outputs: int, config: CnnSpeedrunConfig, *, halve: bool
    ) -> None:
        super().__init__()
        self.halve, self.shortcut = halve, config.shortcut
        self.conv1 = SmallMapConv(inputs, outputs, 3, padding=1)
        self.norm1 = bias_norm(outputs, config.renewal)
        self.conv2 = SmallMapConv(outputs, outputs, 3, padding=1)
        self.norm2 = bias_norm(outputs, config.renewal)
        for conv in (self.conv1, self.conv2):
            start_with_identity(conv.weight)

    def forward(self, x: Maps) -> NewMaps:
        """The maps after the block."""
        x = self.conv1(x)
        if self.halve:
            x = F.max_pool2d(x, 2)
        x = F.relu(self.norm1(x))
        y = F.relu(self.norm2(self.conv2(x)))
        return x + y if self.shortcut else y


def bias_norm(channels: int, renewal: float) -> nn.BatchNorm2d:
    """A batch norm whose scale stays 1."""
    norm = nn.BatchNorm2d(channels, momentum=renewal)
    norm.weight.requires_grad_(False)
    return norm


@torch.no_grad()
def start_with_identity(filters: Filters) -> None:
    """Let the first filters pass one input channel each on; the others stay as they are."""
    nn.init.dirac_(filters[: filters.shape[1]])


class CnnSpeedrun(nn.Module):
    """First filters, three blocks, the largest value of each channel, one linear layer."""

    def __init__(self, config: CnnSpeedrunConfig) -> None:
        super().__init__()
        self.config = config
        inputs = 2 * config.channels * config.patch**2
        self.first = nn.Conv2d(
            config.channels, inputs, config.patch, stride=2, padding=config.patch // 2 - 1
        )
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]
        one, two, three = config.widths
        self.blocks = nn.Sequential(
            TwoConvBlock(inputs, one, config, halve=False),
            TwoConvBlock(one, two, config, halve=True),
            TwoConvBlock(two, three, config, halve=True),
        )
        self.head = nn.Linear(three, config.classes, bias=False)

    @torch.no_grad()
    def whiten(self, images: Images) -> None:
        """Take the first filters from these pictures; they are not learnt then, their bias is."""
        self.first.weight.copy_(whitening_filters(images, self.config.patch))
        self.first.weight.requires_grad_(False)

    def forward(self, images: Images) -> Logits:
        """A score for each class.

        Raises:
            ValueError: the pictures are too small.
        """
        if min(images.shape[2:]) < SMALLEST:
            raise ValueError(f"images must be {SMALLEST} pixels a side, got {images.shape[2:]}")
        x = self.blocks(F.relu(self.first(images))).amax((2, 3))
        return self.head(x) / x.shape[1] ** 0.5


@torch.no_grad()
def whitening_filters(images: Images, patch: int) -> Filters:
    """Filters whose answers to these pictures' patches are uncorrelated and of size 1.

    The second half are the negatives of the first.
    """
    columns = F.unfold(images, patch, stride=2)  # (b, c patch patch, places)
    patches = columns.movedim(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + EPSILON).sqrt()).T.reshape(-1, images.shape[1], patch, patch)
    return torch.cat([filters, -filters])


def alternate_flip(images: Images, chosen: Chosen, epoch: int) -> Images:
    """The chosen pictures mirrored in even passes, all others in odd ones."""
    return flip(images, chosen if epoch % 2 == 0 else ~chosen)


def average_views(model: Callable[[Images], Logits], images: Images) -> Logits:
    """The mean of the scores of six views; half of the weight is on those that are not moved.

    Where a picture is moved, 0 comes in from outside.
    """
    rows, columns = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1))
    moved = [padded[:, :, d : d + rows, d : d + columns] for d in (0, 2)]
    still, *others = (model(view) + model(view.flip(3)) for view in (images, *moved))
    return still / 4 + (others[0] + others[1]) / 8
