"""Digits that are drawn: the reader that judges them, and how they are kept and shown."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data.batches import sample_batch
from orrery.lab import Lab
from orrery.lab.figures import new_figure
from orrery.metrics.digit_features import DigitFeatures
from orrery.train.schedule import scale_rates, trapezoid


class Drawings(dict[str, Tensor]):
    """What each arm drew, and the seconds it took; survives a restart."""

    def state_dict(self) -> dict[str, Tensor]:
        """All of it."""
        return dict(self)

    load_state_dict = dict.update


def learn_reader(images: Tensor, labels: Tensor, updates: int, lab: Lab) -> DigitFeatures:
    """A network that reads digits, and knows nothing of drawings."""
    reader = DigitFeatures(images.shape[-1]).to(lab.device)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=4e-3)
    for step in lab.steps("reader", updates, state=(reader, optimiser)):
        chosen = sample_batch(len(images), 64, lab.rng("reader", step))
        loss = F.cross_entropy(reader(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, updates, cooldown=0.6))
        optimiser.step()
        lab.log(loss=loss)
    return reader.requires_grad_(False)


def picture(drawn: Mapping[str, Tensor]) -> Figure:
    """The first digits of every arm: in a column all begin with the same noise."""
    figure, axes = new_figure(7.2, 0.6 * len(drawn), rows=len(drawn))
    for axis, (arm, images) in zip(axes, drawn.items(), strict=True):
        strip = torch.cat([*images[:20, 0].cpu()], dim=1).numpy()
        axis.imshow(strip, cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(arm, rotation=0, ha="right", va="center")
    return figure
