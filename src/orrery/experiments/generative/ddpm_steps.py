"""How many steps does a diffusion model need to draw a digit?

One small U-Net learns to take noise from real MNIST digits, halved to 14 x 14 pixels, along DDPM's
chain of a thousand steps. From the same noise, digits are then drawn with ever fewer of the steps:
by DDIM's differential equation, by the ancestral sampler (DDIM's rule with all of its noise) and
by a second-order solver. A drawing is judged by its Fréchet distance from real digits in the
features of a reader trained on digits, and by a two-sample test there. Few samples make such a
distance too large, so every arm draws equally many, and `floor` is what as many real digits score.
Distances are in units of the features' own variance.

The plan says that DDIM goes from 1000 steps to 50 and then 10 with almost no loss, 20 to 100 times
faster. The paper's table says that 10 steps are not lossless, and its text claims 10 to 50 times.
So tested is that 50 steps cost at most half of the distance more, and how much less time the
fewest steps take that cost no more than that; a finding asks about 10 steps.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from typing import Annotated

import torch
from matplotlib.figure import Figure
from pydantic import Field, field_validator
from torch import Tensor

from orrery.data import mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.experiments.generative._digits import Drawings, learn_reader, picture
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.digit_features import compare_digits
from orrery.systems.generative.ddim import ddim_sample, spaced_times
from orrery.systems.generative.ddpm import (
    clipped,
    cosine_schedule,
    linear_schedule,
    simple_loss,
    spread_times,
)
from orrery.systems.generative.dpm_solver import dpm_solver_sample, log_spaced_times
from orrery.systems.generative.unet import UNet, UNetConfig
from orrery.train.ema import Ema
from orrery.train.schedule import scale_rates, trapezoid

ALMOST = 1.5  # times the distance of the whole chain: what still counts as almost no loss


def speed_up(m: Measured) -> float:
    """How much less time the fewest DDIM steps take that lose almost nothing."""
    enough = ALMOST * m["ancestral-all/distance"]
    arms = [key.split("/")[0] for key in m if key.startswith("ddim-") and key.endswith("/distance")]
    times = [m[f"{arm}/seconds"] for arm in arms if m[f"{arm}/distance"] <= enough]
    return m["ancestral-all/seconds"] / min(times) if times else 0.0


CLAIMS = (
    Claim(
        "ddim-lossless",
        effect=lambda m: ALMOST - m["ddim-50/distance"] / m["ancestral-all/distance"],
    ),
    Claim("ddim-speedup", effect=speed_up, margin=10.0),
    Finding(
        "ten steps are not lossless",
        effect=lambda m: m["ddim-10/distance"] / m["ddim-all/distance"] - ALMOST,
    ),
    Finding(
        "with ten steps the equation comes closer than the ancestral sampler",
        effect=lambda m: m["ancestral-10/distance"] / m["ddim-10/distance"] - 1,
    ),
    Finding(
        "with ten steps a second-order solver comes closer than DDIM",
        effect=lambda m: m["ddim-10/distance"] / m["solver-10/distance"] - 1,
    ),
    Finding(
        "all digits are drawn: the reader's classes are as even as eight equal ones",
        effect=lambda m: m["ddim-50/classes"] - 8,
    ),
    Finding(
        "a kernel test does not tell the drawn digits from real ones",
        effect=lambda m: m["ddim-50/p"] - 0.05,
    ),
    Control("the reader reads nine of ten digits", effect=lambda m: m["reader"] - 0.9),
    Control(
        "the whole chain lands at under a third of the untrained network's distance",
        effect=lambda m: m["untaught/distance"] / m["ancestral-all/distance"] - 3,
    ),
    Control("the kernel test passes real digits", effect=lambda m: m["floor/p"] - 0.05),
)
ABLATIONS = ("wrong_schedule",)
SEEDS = 4
SCALES = {
    "smoke": {
        "updates": 2, "reader_updates": 2, "steps": (60, 50, 10), "samples": 8, "width": 4,
    },
    "tour": {"updates": 150, "steps": (1000, 50, 10), "samples": 16},
    "large": {"updates": 20_000, "batch": 128, "samples": 1_000, "width": 64},
}  # fmt: skip


class DdpmStepsSettings(Settings):
    """A smoke run draws a few digits from an untaught network; a tour draws fewer of them."""

    updates: Annotated[int, Range(1, 1_000_000)] = 1_000
    """Optimiser steps of the denoiser."""
    batch: Annotated[int, Range(1, 4_096, "images")] = 32
    """Images in a batch."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 3e-3
    """Highest learning rate."""
    width: Annotated[int, Field(multiple_of=4), Range(4, 256, "channels")] = 16
    """Channels of the U-Net on the whole image; on the halved one there are twice as many."""
    steps: tuple[Annotated[int, Range(1, 10_000)], ...] = (1_000, 100, 50, 20, 10)
    """Numbers of steps to draw with: falling, from the whole chain, with 50 and 10 among them."""
    samples: Annotated[int, Range(8, 500, "digits")] = 64
    """Digits each arm draws."""
    reader_updates: Annotated[int, Range(1, 100_000)] = 400
    """Optimiser steps of the reader that digits are judged by."""

    @field_validator("steps")
    @classmethod
    def _fall(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps), reverse=True) or not {50, 10} < set(steps):
            raise ValueError("must fall from more than 50 and have 50 and 10 among them")
        return steps


Samplers = dict[str, Callable[[], Tensor]]


def run(settings: DdpmStepsSettings, lab: Lab) -> Measured:
    """Teach a reader and a denoiser, draw with every arm, compare with real digits."""
    train, test = mnist.load()
    images, labels = draw_pictures(train, len(train), lab.rng("train"), halvings=1)
    others, their_labels = draw_pictures(test, len(test), lab.rng("test"), halvings=1)
    reader = learn_reader(images, labels, settings.reader_updates, lab)
    measured = {"reader": float((reader(others).argmax(1) == their_labels).float().mean())}
    drawn, seconds = Drawings(), Drawings()
    for arm, sample in learn_samplers(images, settings, lab).items():
        for _ in lab.steps(arm, 1, state=(drawn, seconds)):
            with lab.stopwatch(arm) as watch:
                drawn[arm] = sample().clamp(-1, 1)
            seconds[arm] = torch.tensor(watch.seconds)
        measured[f"{arm}/seconds"] = float(seconds[arm])
    real, target = others.chunk(2)
    drawn["floor"] = real[: settings.samples]
    lab.figure("drawings", picture(drawn))
    for arm, images in drawn.items():
        found = compare_digits(reader, images, target, permutations=999, rng=lab.rng("relabel"))
        measured |= {f"{arm}/{name}": value for name, value in asdict(found).items()}
    for kind in ("ancestral", "ddim"):
        for name in ("distance", "seconds"):
            measured[f"{kind}-all/{name}"] = measured[f"{kind}-{settings.steps[0]}/{name}"]
    return measured


def learn_samplers(images: Tensor, settings: DdpmStepsSettings, lab: Lab) -> Samplers:
    """Teach the denoiser; all that draws with it, from the same noise."""
    chain = settings.steps[0]
    schedule = linear_schedule(chain, first=0.1 / chain, last=20 / chain)  # the paper's at 1000
    net = UNet(UNetConfig(
        channels=1, widths=(settings.width, 2 * settings.width), depth=1,
        attention=(False, True), heads=2, groups=4,
    )).to(lab.device)  # fmt: skip
    untaught, mean = deepcopy(net), Ema(net, decay=0.995)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.rate, betas=(0.9, 0.99))
    for step in lab.steps("denoiser", settings.updates, state=(net, optimiser, mean)):
        rng = lab.rng("batch", step)
        x0 = images[sample_batch(len(images), settings.batch, rng)]
        eps = torch.randn(x0.shape, generator=rng, device=lab.device)
        loss = simple_loss(net, schedule, x0, eps, spread_times(chain, settings.batch, rng))
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.updates, warmup=50))
        optimiser.step()
        mean.update(net)
        lab.log(loss=loss)
    shape = (settings.samples, *images.shape[1:])
    noise = torch.randn(shape, generator=lab.rng("noise"), device=lab.device)
    # an arm that skips steps looks up how noisy its images are; the ablation's table is wrong
    walked = cosine_schedule(chain) if lab.ablated("wrong_schedule") else schedule
    denoiser, skipping = clipped(mean.model, schedule), clipped(mean.model, walked)
    samplers: Samplers = {}
    for n in settings.steps:
        times, rng = spaced_times(chain, n), lab.rng("ancestral", n)
        samplers[f"ancestral-{n}"] = partial(
            ddim_sample, denoiser, schedule, noise, times, eta=1.0, generator=rng
        )
        samplers[f"ddim-{n}"] = partial(ddim_sample, skipping, walked, noise, times)
        if n <= 20:
            log_times = log_spaced_times(walked, n)
            samplers[f"solver-{n}"] = partial(dpm_solver_sample, skipping, walked, noise, log_times)
    empty = clipped(untaught, schedule)
    return samplers | {"untaught": partial(ddim_sample, empty, schedule, noise, times)}


def draw(results: Sequence[Measured], settings: DdpmStepsSettings) -> dict[str, Figure]:
    """Distance by the number of steps, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.4, 3.8)
    for kind, colour in zip(("ddim", "ancestral", "solver"), COLOURS, strict=False):
        steps = [n for n in settings.steps if f"{kind}-{n}/distance" in results[0]]
        means, half = over_seeds(results, [f"{kind}-{n}/distance" for n in steps])
        axis.errorbar(steps, means, half, fmt="o-", color=colour, capsize=3, label=kind)
    (floor,), _ = over_seeds(results, ["floor/distance"])
    axis.axhline(floor, color=COLOURS[7], linestyle=":", label="as many real digits")
    axis.set(xscale="log", xlabel="calls of the network", ylabel="Fréchet distance / variance")
    axis.set(title="Distance from real digits", ylim=(0, None))
    axis.legend()
    return {"steps": figure}
