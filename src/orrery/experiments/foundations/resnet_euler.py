"""Is a residual net Euler's method for a differential equation?

x + F(x) has the form of an Euler step of size 1. Whether the net follows an equation is tested on
its own: between two layers the branch is blended linearly, and the units flow along it in fine
steps (Runge-Kutta). Measured is how far the net ends from the flow, as a share of how far the flow
leads, for deeper and deeper nets of one family, untrained: branches that change smoothly with depth
and are scaled by 1/L; the same, not scaled; and branches that are drawn independently, scaled by
1/sqrt(L), without which they would cancel and lead nowhere.

Then two nets of one depth learn Fashion-MNIST, one from independent branches and one from smooth
ones. Do the branches of neighbouring layers become alike, or stay so, and does the net bear to be
given twice as many half steps? A net that follows an equation would hardly notice.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import field_validator
from torch import Tensor

from orrery.data import fashion_mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.experiments.foundations._equation import Branches, Classifier, unlike
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.optimisers import Adam
from orrery.systems.foundations.resnet_euler import EulerConfig
from orrery.train.schedule import scale_rates, trapezoid

FAMILIES = {"smooth": -1.0, "unscaled": 0.0, "independent": -0.5}
"""By family of nets: to which power of L a branch is scaled."""
TRAINED = ("smooth", "independent")
TIMES = ("before", "after")

CLAIMS = (
    Claim(
        "resnet-euler",
        effect=lambda m: m["smooth/order"] - max(m["unscaled/order"], m["independent/order"]),
        margin=0.25,
        text="the distance to its own equation falls faster with depth, by a quarter of a power of "
        "L or more, where branches are smooth in depth and scaled by 1/L than where one is missing",
    ),
    Finding(
        "independent branches follow none: twice the layers take off a sixth of the distance or "
        "less, an order below 0.25",
        effect=lambda m: 0.25 - m["independent/order"],
    ),
    Finding(
        "smooth and scaled, twice the layers halve the distance: the order is above 0.9",
        effect=lambda m: m["smooth/order"],
        margin=0.9,
    ),
    Finding(
        "training makes neighbours alike: from independent, their difference falls below half",
        effect=lambda m: 0.5 - m["independent/unlike_after"],
    ),
    Finding(
        "smooth at the start, a net stays smooth: the difference of neighbours stays below half",
        effect=lambda m: 0.5 - m["smooth/unlike_after"],
    ),
    Finding(
        "trained from smooth branches, a net bears half steps: the error grows by less than 0.02",
        effect=lambda m: 0.02 - m["smooth/rise"],
    ),
    Finding(
        "trained from independent branches, a net bears half steps as well",
        effect=lambda m: 0.02 - m["independent/rise"],
    ),
    Control(
        "the fine solution is fine: half the step moves it by less than a hundredth of the least "
        "distance",
        effect=lambda m: -max(m[f"{family}/unsure"] for family in FAMILIES),
        margin=-0.01,
    ),
    Control(
        "both trained nets have learned: an error below a third of guessing's",
        effect=lambda m: 0.3 - max(m[f"{family}/error"] for family in TRAINED),
    ),
)
ABLATIONS = ("independent_everywhere",)
SCALES = {
    "smoke": {"depths": (4, 8), "steps": 2, "images": 64},
    "tour": {"depths": (8, 16, 32), "steps": 200},
    "large": {"depths": (8, 16, 32, 64, 128, 256, 512), "steps": 5_000, "images": 60_000},
}  # fmt: skip


class ResnetEulerSettings(Settings):
    """A smoke run has shallow nets and hardly trains."""

    depths: tuple[Annotated[int, Range(2, 4_096)], ...] = (8, 16, 32, 64, 128)
    """L of the untrained nets, growing."""
    depth: Annotated[int, Range(2, 1_000)] = 16
    """Of the trained nets."""
    width: Annotated[int, Range(1, 4_096)] = 32
    """Units of a trained net, and of its branches."""
    steps: Annotated[int, Range(1, 1_000_000)] = 500
    """Optimiser steps of each."""
    images: Annotated[int, Range(16, 60_000)] = 4_096
    """Images to train on, and at most as many others to test on."""

    @field_validator("depths")
    @classmethod
    def _grow(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if len(depths) < 2 or list(depths) != sorted(set(depths)):
            raise ValueError("must be two depths or more that grow")
        return depths


def run(settings: ResnetEulerSettings, lab: Lab) -> Measured:
    """Compare untrained nets of growing depth with their equations, then train two."""
    measured: Measured = {}
    x = torch.randn(64, 8, generator=lab.rng("units"), device=lab.device).double()
    for family, power in FAMILIES.items():
        smooth = family != "independent" and not lab.ablated("independent_everywhere")
        measured |= lab.measure(
            f"untrained-{family}",
            lambda family=family, power=power, smooth=smooth: distances(  # type: ignore[misc]
                family, power if smooth else -0.5, smooth, x, settings, lab
            ),
        )
    for family in TRAINED:
        smooth = family == "smooth" and not lab.ablated("independent_everywhere")
        found = learn(family, smooth, settings, lab)
        measured |= {f"{family}/{key}": value for key, value in found.items()}
    return measured


@torch.no_grad()
def distances(
    family: str, power: float, smooth: bool, x: Tensor, settings: ResnetEulerSettings, lab: Lab
) -> Measured:
    """By depth, how far a net ends from the flow; and with which power of L that falls."""
    found: Measured = {}
    unsure = 0.0
    for depth in settings.depths:
        torch.manual_seed(lab.rng("weights").initial_seed())
        branches = Branches(EulerConfig(scale=2.0), depth, power, smooth=smooth)
        branches.double().to(lab.device)
        net, led, finer = branches.euler(x), branches.flow(x, 1 / 4), branches.flow(x, 1 / 8)
        found[f"{family}/distance-{depth}"] = float((net - finer).norm() / (finer - x).norm())
        unsure = max(unsure, float((led - finer).norm() / (net - finer).norm()))
    logs = torch.tensor([found[f"{family}/distance-{depth}"] for depth in settings.depths]).log2()
    depths = torch.tensor(settings.depths).float().log2()
    depths = depths - depths.mean()
    order = -float(depths @ logs / depths.square().sum())  # slope of the least squares line
    return found | {f"{family}/order": order, f"{family}/unsure": unsure}


def learn(family: str, smooth: bool, settings: ResnetEulerSettings, lab: Lab) -> Measured:
    """Train one net; how unlike its neighbours are before and after, and what half steps cost."""
    (x, y), (test_x, test_y) = (
        draw_pictures(part, settings.images, lab.rng(name), halvings=1)
        for name, part in zip(("train", "test"), fashion_mnist.load(), strict=True)
    )
    torch.manual_seed(lab.rng("weights").initial_seed())
    sizes = EulerConfig(width=settings.width, hidden=settings.width, scale=2.0)
    branches = Branches(sizes, settings.depth, -1.0 if smooth else -0.5, smooth=smooth)
    net = Classifier(branches, settings.width).to(lab.device)
    before = unlike(net, test_x)
    optimiser = Adam(net.parameters(), 2e-3)
    for step in lab.steps(f"trained-{family}", settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(x), 64, lab.rng("batch", step))
        loss = F.cross_entropy(net(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    whole, half = (net.error(test_x, test_y, h) for h in (1.0, 0.5))
    after = unlike(net, test_x)
    return {"error": whole, "rise": half - whole, "unlike_before": before, "unlike_after": after}


def draw(results: Sequence[Measured], settings: ResnetEulerSettings) -> dict[str, Figure]:
    """Distances by depth, and the trained nets' neighbours, with intervals over the seeds."""
    figure, (by_depth, neighbours) = new_figure(8.4, 3.4, columns=2)
    for family, colour in zip(FAMILIES, COLOURS, strict=False):
        mean, half = over_seeds(results, [f"{family}/distance-{d}" for d in settings.depths])
        by_depth.errorbar(
            settings.depths, mean, half, fmt="o-", color=colour, capsize=3, label=family
        )
    by_depth.set(title="Distance from the equation", xlabel="layers", ylabel="share of the way")
    by_depth.set(xscale="log", yscale="log")
    by_depth.legend()
    for family, colour in zip(TRAINED, (COLOURS[0], COLOURS[2]), strict=True):
        mean, half = over_seeds(results, [f"{family}/unlike_{when}" for when in TIMES])
        neighbours.errorbar(TIMES, mean, half, fmt="o-", color=colour, capsize=3, label=family)
    neighbours.set(title="Neighbouring layers", ylabel="difference, 1 for strangers")
    neighbours.set_ylim(bottom=0)
    neighbours.legend()
    return {"equation": figure}
