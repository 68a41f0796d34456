"""Digits that are drawn: the reader that judges them, and how they are kept and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data.batches import sample_batch
from orrery.lab import Lab, Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.digit_features import DigitFeatures, compare_digits
from orrery.train.schedule import scale_rates, trapezoid


class Drawings(dict[str, Tensor]):
    """What each arm drew, or the seconds it took; survives a restart."""

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


def compare(samples: Sequence[Tensor], reader: DigitFeatures, target: Tensor, lab: Lab) -> Measured:
    """What the samples measure against real digits, on average."""
    rng = lab.rng("relabel")
    found = [
        asdict(compare_digits(reader, sample, target, permutations=199, rng=rng))
        for sample in samples
    ]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def picture(drawn: Mapping[str, Tensor]) -> Figure:
    """The first digits of every arm: in a column all begin with the same noise."""
    figure, axes = new_figure(7.2, 0.36 * len(drawn), rows=len(drawn))
    # an arm's kind first, then its steps, most first: alike arms stand together
    arms = sorted(drawn.items(), key=lambda item: item[0].split("-")[0])
    for axis, (arm, images) in zip(axes, arms, strict=True):
        strip = torch.cat([*images[:20, 0].cpu()], dim=1).numpy()
        axis.imshow(strip, cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(arm, rotation=0, ha="right", va="center")
    return figure


def distances(results: Sequence[Measured], steps: Sequence[int]) -> Figure:
    """Distance from real digits by the number of steps, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.4, 3.8)
    for kind, colour in zip(("ddim", "ancestral", "solver"), COLOURS, strict=False):
        numbers = [n for n in steps if f"{kind}-{n}/distance" in results[0]]
        means, half = over_seeds(results, [f"{kind}-{n}/distance" for n in numbers])
        axis.errorbar(numbers, means, half, fmt="o-", color=colour, capsize=3, label=kind)
    (floor,), _ = over_seeds(results, ["floor/distance"])
    axis.axhline(floor, color=COLOURS[7], linestyle=":", label="as many real digits")
    axis.set(xscale="log", xlabel="calls of the network", ylabel="Fréchet distance / variance")
    axis.set(title="Distance from real digits", ylim=(0, None))
    axis.set_xticks(steps, [str(n) for n in steps])
    axis.legend()
    return figure
