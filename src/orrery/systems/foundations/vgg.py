"""VGG: depth out of nothing but 3x3 convolutions.

Two 3x3 convolutions see the 5x5 field of one, and three see 7x7, with fewer weights (18 C^2 against
25 C^2, 27 C^2 against 49 C^2) and more rectifiers between. Five stages of them, each followed by a
pooling that halves the image while the channels double, then three dense layers. The state dict has
the names and shapes of the published weights (torchvision's).

Source: Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", arXiv:1409.1556, sections 2.1 to 2.3, table 1 (columns A, B, D, E); batch norm after
each convolution as in torchvision's `_bn` weights.
Differs from the paper: the average over 7 x 7 fields before the dense layers (torchvision's)
changes nothing at 224 x 224 and lets other sizes in; He's initialisation, where the paper starts
deep nets from a trained shallow one; form C, with its 1x1 convolutions, is left out.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.resnet import initialise_convolutions

SYSTEM = System(
    stem="vgg", area="foundations", title="VGG (11, 13, 16, 19)", year=2014,
    papers=("arXiv:1409.1556",), builds_on=("resnet",), realises=("vgg",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Logits = Float[Tensor, "b classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VggConfig:
    """How many convolutions each stage has, and the widths; the defaults are VGG-16 (form D)."""

    convolutions: tuple[int, int, int, int, int] = (2, 2, 3, 3, 3)
    batch_norm: bool = False
    kernel: int = 3
    """Side of the kernels; 5 is what the paper compares with (section 4.1)."""
    width: int = 64
    """Channels of the first stage; each later one has twice as many, up to eight times."""
    fields: int = 7
    """Side of what the dense layers see of each map."""
    hidden: int = 4096
    """Units of the two hidden dense layers."""
    dropout: float = 0.5
    channels: int = 3
    classes: int = 1000

    def __post_init__(self) -> None:
        if min(self.convolutions) < 1:
            raise ValueError(f"convolutions must be at least 1 in each stage: {self.convolutions}")
        for name in ("width", "fields", "hidden", "channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, got {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def outputs(self, stage: int) -> int:
        """Channels that come out of a stage, counted from 0."""
        return self.width << min(stage, 3)


def vgg11(*, batch_norm: bool = False) -> VggConfig:
    """11 layers with weights: form A."""
    return VggConfig(convolutions=(1, 1, 2, 2, 2), batch_norm=batch_norm)


def vgg13(*, batch_norm: bool = False) -> VggConfig:
    """13 layers with weights: form B."""
    return VggConfig(convolutions=(2, 2, 2, 2, 2), batch_norm=batch_norm)


def vgg16(*, batch_norm: bool = False) -> VggConfig:
    """16 layers with weights: form D."""
    return VggConfig(convolutions=(2, 2, 3, 3, 3), batch_norm=batch_norm)


def vgg19(*, batch_norm: bool = False) -> VggConfig:
    """19 layers with weights: form E."""
    return VggConfig(convolutions=(2, 2, 4, 4, 4), batch_norm=batch_norm)


class Vgg(nn.Module):
    """Stages of 3x3 convolutions, then dense layers; places in `features` are torchvision's."""

    def __init__(self, config: VggConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = config.channels
        for stage, count in enumerate(config.convolutions):
            layers += in_a_row(
                inputs, config.outputs(stage), count, config.batch_norm, config.kernel
            )
            layers.append(nn.MaxPool2d(2))
            inputs = config.outputs(stage)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(config.fields**2 * inputs, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.classes),
        )
        initialise_convolutions(self)

    def forward(self, images: Images) -> Logits:
        """A score for each class."""
        maps = F.adaptive_avg_pool2d(self.features(images), self.config.fields)
        return self.classifier(maps.flatten(1))


def in_a_row(
    inputs: int, outputs: int, count: int, batch_norm: bool, kernel: int = 3
) -> list[nn.Module]:
    """So many convolutions in a row, each rectified: a field of (kernel - 1) count + 1 pixels."""
    layers: list[nn.Module] = []
    for index in range(count):
        before = outputs if index else inputs
        layers.append(nn.Conv2d(before, outputs, kernel, padding=kernel // 2))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU())
    return layers
