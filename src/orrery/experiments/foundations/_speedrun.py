"""The recipe that learns Fashion-MNIST fast, any of whose tricks can be left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.optim import SGD, Optimizer

from orrery.data.labelled import Labelled
from orrery.experiments.foundations._logbook import Logbook
from orrery.systems.foundations.augmentation import random_crop
from orrery.systems.foundations.cnn_speedrun import (
    CnnSpeedrun,
    CnnSpeedrunConfig,
    alternate_flip,
    average_views,
)
from orrery.train import precision
from orrery.train.filter_muon import FilterMuon
from orrery.train.schedule import scale_rates

Pictures = Float[Tensor, "n 1 y x"]  # black is 0, the spread of all pixels 1
Classes = Int64[Tensor, " n"]
Data = tuple[Pictures, Classes]
Rng = Callable[..., Generator]

SPREAD = 0.353  # of the training set's pixels, where white is 1
WHITENED_BY = 2_000  # pictures
MUON_RATE, SGD_RATE = 0.12, 1.0  # of the filters
FIRST_RATE, BIAS_RATE, HEAD_RATE = 0.1, 0.05, 0.3
SMOOTHING = 0.1
LARGE = 1_000  # pictures judged at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Tricks:
    """Which tricks are used, by the name under which one is left out."""

    whitening: bool = True
    muon: bool = True
    shortcuts: bool = True
    smoothing: bool = True
    flips: bool = True
    shifts: bool = True


PLAIN = Tricks(
    whitening=False, muon=False, shortcuts=False, smoothing=False, flips=False, shifts=False
)


def as_pictures(part: Labelled, device: torch.device) -> Data:
    """All pictures of a part and their classes; in bfloat16 where the training is."""
    dtype = torch.bfloat16 if precision.measured().bfloat16 else torch.float32
    pixels = torch.from_numpy(part.images).to(device)[:, None] / (255 * SPREAD)
    return pixels.to(dtype), torch.from_numpy(part.labels).to(device)


class Speedrun:
    """A net, its optimisers and its way through the pictures."""

    def __init__(
        self, recipe: Tricks, data: Data, widths: tuple[int, int, int], *,
        epochs: int, batch: int, rng: Rng,
    ) -> None:  # fmt: skip
        """Build the net and whiten it.

        Args:
            recipe: the tricks.
            data: to learn.
            widths: of the net's blocks.
            epochs: passes over the data.
            batch: pictures a step; what is left over at the end of a pass is left out.
            rng: a generator for a name and numbers.
        """
        self.recipe, (self.images, self.labels), self.batch, self.rng = recipe, data, batch, rng
        self.per_epoch = max(1, len(self.images) // batch)
        self.steps = epochs * self.per_epoch
        torch.manual_seed(rng("weights").initial_seed())
        self.net = CnnSpeedrun(CnnSpeedrunConfig(widths=widths, shortcut=recipe.shortcuts))
        if recipe.whitening:
            self.net.whiten(self.images[:WHITENED_BY].float())
        self.net.to(self.images.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers = optimisers(self.net, recipe)
        self.book = Logbook(epochs)
        self.order = lru_cache(1)(self._order)
        chosen = torch.rand(len(self.images), generator=rng("faces"), device=self.images.device)
        self.chosen = chosen < 0.5

    def _order(self, epoch: int) -> Int64[Tensor, " n"]:
        generator = self.rng("order", epoch)
        return torch.randperm(len(self.images), generator=generator, device=generator.device)

    def examples(self, step: int) -> Data:
        """The batch of a step, mirrored and moved."""
        epoch, place = divmod(step, self.per_epoch)
        rows = self.order(epoch)[place * self.batch : (place + 1) * self.batch]
        images = self.images[rows]
        if self.recipe.flips:
            images = alternate_flip(images, self.chosen[rows], epoch)
        if self.recipe.shifts:
            images = random_crop(images, 1, self.rng("shift", step))
        return images, self.labels[rows]

    def learn(self, step: int) -> Tensor:
        """One step on one batch; its loss before."""
        start = time.process_time()
        images, labels = self.examples(step)
        smoothing = SMOOTHING if self.recipe.smoothing else 0.0
        loss = F.cross_entropy(scores(self.net, images), labels, label_smoothing=smoothing)
        self.net.zero_grad()
        loss.backward()
        for optimiser in self.optimisers:
            scale_rates(optimiser, 1 - step / self.steps)
            optimiser.step()
        self.book.spent_seconds += time.process_time() - start
        return loss.detach()

    def state(self) -> list[nn.Module | Optimizer]:
        """All that changes from step to step."""
        return [self.net, *self.optimisers, self.book]

    def ends_epoch(self, step: int) -> bool:
        """Whether a pass over the pictures ends with this step."""
        return (step + 1) % self.per_epoch == 0


def optimisers(net: CnnSpeedrun, recipe: Tricks) -> list[Optimizer]:
    """Muon for the filters of the blocks; SGD with momentum for the rest, or for all."""
    learnt = {name: p for name, p in net.named_parameters() if p.requires_grad}
    filters = [p for name, p in learnt.items() if p.ndim == 4 and name != "first.weight"]
    rest = [p for name, p in learnt.items() if p.ndim == 1]
    groups = [{"params": rest, "lr": BIAS_RATE}, {"params": [net.head.weight], "lr": HEAD_RATE}]
    if "first.weight" in learnt:
        groups.append({"params": [net.first.weight], "lr": FIRST_RATE})
    if not recipe.muon:
        groups.append({"params": filters, "lr": SGD_RATE})
    sgd = SGD(groups, lr=BIAS_RATE, momentum=0.85, nesterov=True)
    if not recipe.muon:
        return [sgd]
    low = torch.bfloat16 if precision.measured().bfloat16 else None
    return [FilterMuon(filters, lr=MUON_RATE, iterate_in=low), sgd]


def scores(net: Callable[[Tensor], Tensor], images: Pictures) -> Float[Tensor, "n classes"]:
    """The net's scores, computed in bfloat16 where the pictures are."""
    images = images.to(memory_format=torch.channels_last)
    low = images.dtype == torch.bfloat16
    with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        return net(images).float()


@torch.no_grad()
def told_right(net: nn.Module, data: Data, *, views: bool) -> float:
    """Share of the pictures that the net tells right, by one view of each or by six."""
    net.eval()

    def judge(images: Tensor) -> Tensor:
        return scores(net, images)

    right = 0
    for images, labels in zip(data[0].split(LARGE), data[1].split(LARGE), strict=True):
        judged = average_views(judge, images) if views else judge(images)
        right += int((judged.argmax(1) == labels).sum())
    net.train()
    return right / len(data[1])
