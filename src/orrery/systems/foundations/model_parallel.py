"""AlexNet on two devices: each holds half of every layer, and they talk in few places.

The first convolution gives each device half of the maps; the second, fourth and fifth read only
the device's own. The third convolution and the dense layers read everything, so before each of
them the devices show each other what they have (cross-talk). In between nothing is sent. What comes
out, and every gradient, is that of the net with grouped convolutions on one device
(`alexnet.alexnet_2012`).

`side_by_side` runs the halves in one process, each where its weights are; `in_processes` runs one
half in each process of a group (torch.distributed), with cross-talk that gradients pass through.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", sections 3.2 and 3.5, figure 2.
Differs from the paper: any number of devices that divides the net's groups; the last layer too is
shared out, by classes; with dropout the halves draw masks of their own, so that only without it
are the numbers those of one device.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.alexnet import BENDS, AlexNetConfig, ResponseNorm, convolutions

SYSTEM = System(
    stem="model_parallel", area="foundations", title="AlexNet on two devices", year=2012,
    papers=("Krizhevsky, Sutskever, Hinton 2012",), builds_on=("alexnet",),
    realises=("model-parallel-training",),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Logits = Float[Tensor, "b classes"]
Part = Float[Tensor, "b part *image"]
Whole = Float[Tensor, "b whole *image"]

FIRST_OF_ALL = 6
"""Place in `features` of the convolution that reads the maps of all devices."""


class Tower(nn.Module):
    """One device's part of AlexNet; parameters have the names that they have in the whole."""

    def __init__(self, config: AlexNetConfig, towers: int = 2) -> None:
        super().__init__()
        if config.groups % towers or config.classes % towers or config.hidden % towers:
            raise ValueError(
                f"towers={towers} must divide groups={config.groups}, hidden={config.hidden} "
                f"and classes={config.classes}"
            )
        self.features = nn.Sequential(*_shares(convolutions(config), towers))
        self.fields = config.fields
        inputs, hidden = config.fields**2 * config.widths[-1], config.hidden
        bend = BENDS[config.activation]
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(inputs, hidden // towers), bend(),
            nn.Dropout(config.dropout), nn.Linear(hidden, hidden // towers), bend(),
            nn.Linear(hidden, config.classes // towers),
        )  # fmt: skip

    def segments(self) -> tuple[nn.Module, ...]:
        """The stretches between two cross-talks."""
        f, c = self.features, self.classifier
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(self.fields), nn.Flatten())
        return f[:FIRST_OF_ALL], nn.Sequential(f[FIRST_OF_ALL:], pool), c[:3], c[3:6], c[6:]


def _shares(layers: Sequence[nn.Module], towers: int) -> list[nn.Module]:
    """The layers with a tower's share of the maps: its own groups, or all maps before."""
    shared: list[nn.Module] = []
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            reads_all = place in (0, FIRST_OF_ALL)
            side, stride = layer.kernel_size[0], layer.stride[0]
            layer = nn.Conv2d(
                layer.in_channels if reads_all else layer.in_channels // towers,
                layer.out_channels // towers, side, stride,
                padding=2 if side == 11 else side // 2,
                groups=1 if reads_all else layer.groups // towers,
            )  # fmt: skip
        elif isinstance(layer, nn.Sequential):
            layer = nn.Sequential(layer[0], ResponseNorm(_groups(layer) // towers))
        shared.append(layer)
    return shared


def _groups(layer: nn.Sequential) -> int:
    """Groups of a response normalisation behind what bends."""
    norm = layer[1]
    assert isinstance(norm, ResponseNorm)
    return norm.groups


def share_of(weights: Mapping[str, Tensor], tower: int, towers: int = 2) -> dict[str, Tensor]:
    """A tower's rows of every tensor of the whole net: outputs are what is shared out."""
    return {name: tensor.chunk(towers)[tower].clone() for name, tensor in weights.items()}


def side_by_side(towers: Sequence[Tower], images: Images) -> Logits:
    """A score for each class, from towers in this process; copies between devices are cross-talk.

    Args:
        towers: each on a device of its own, or all on one.
        images: on any device; scores come back there.
    """
    devices = [next(tower.parameters()).device for tower in towers]
    whole: Tensor = images
    for segments in zip(*(tower.segments() for tower in towers), strict=True):
        parts = [
            segment(whole.to(device)) for segment, device in zip(segments, devices, strict=True)
        ]
        whole = torch.cat([part.to(images.device) for part in parts], dim=1)
    return whole


def in_processes(tower: Tower, images: Images) -> Logits:
    """A score for each class, from one tower in each process of the default group.

    Every process gives the same images and gets the same scores. Each takes the loss of all scores
    and its gradient; a tower's own parameters then have the gradients of that one loss.
    """
    segments = tower.segments()
    whole: Tensor = images
    for segment in segments[:-1]:
        whole = cross_talk(segment(whole))
    return cross_talk(segments[-1](whole), shared_loss=True)


def cross_talk(part: Part, *, shared_loss: bool = False) -> Whole:
    """The parts of all processes, one after another along the channels; alone, the part itself.

    Args:
        part: of the same shape everywhere.
        shared_loss: the whole goes into a loss that every process takes alike, so that each
            already has all of its gradient; elsewhere the processes' gradients are summed.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return part
    whole: Tensor = CrossTalk.apply(part, shared_loss)  # type: ignore[no-untyped-call]
    return whole


class CrossTalk(torch.autograd.Function):
    """Show the others one's part; on the way back, get what all of them want of it changed."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, shared_loss: bool) -> Tensor:
        """The whole."""
        ctx.shared_loss = shared_loss
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of this process's part."""
        gradient = gradients[0].contiguous()
        if not ctx.shared_loss:
            gradient = gradient.clone()
            dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size(), dim=1)[dist.get_rank()], None
