"""How many steps does a diffusion model need to draw a digit?

One small U-Net learns to take noise from real MNIST digits, halved to 14 x 14 pixels, along DDPM's
chain of a thousand steps. From the same noise, digits are then drawn with ever fewer of them: by
DDIM's differential equation, by the ancestral sampler (DDIM's rule with all of its noise) and by a
second-order solver. They are judged by their Fréchet distance from real digits, in the features of
a reader and in units of those features' variance, and by a two-sample test. Few samples make a
distance too large: so all arms draw equally many, and `floor` is what as many real digits score.

The plan says that DDIM goes from 1000 steps to 50 and then 10 with almost no loss, 20 to 100 times
faster; the paper, that 10 steps are not lossless, and 10 to 50 times. Tested is that 50 steps cost
no more than in its table, and how much less time the fewest steps take that cost no more.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Annotated

import torch
from matplotlib.figure import Figure
from pydantic import Field, field_validator
from torch import Tensor

from orrery.data import mnist
from orrery.data.batches import sample_batch
from orrery.data.pictures import draw_pictures
from orrery.experiments.generative._digits import (
    Drawings,
    compare,
    distances,
    learn_reader,
    picture,
)
from orrery.experiments.generative._samplers import Samplers, ddim, samplers
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.generative import ddpm
from orrery.systems.generative.unet import UNet, UNetConfig
from orrery.train.ema import Ema
from orrery.train.schedule import scale_rates, trapezoid

ALMOST = 4.67 / 4.04  # times as far: what 50 steps instead of 1000 cost in the paper's table


def speed_up(m: Measured) -> float:
    """How much less time the fewest DDIM steps take that lose almost nothing, in powers of ten."""
    enough = ALMOST * m["ddim-all/distance"]
    arms = [key.split("/")[0] for key in m if key.startswith("ddim-") and key.endswith("/distance")]
    times = [m[f"{arm}/seconds"] for arm in arms if m[f"{arm}/distance"] <= enough]
    return math.log10(m["ancestral-all/seconds"] / min(times)) if times else 0.0


CLAIMS = (
    Claim(
        "ddim-lossless",
        effect=lambda m: ALMOST - m["ddim-50/distance"] / m["ddim-all/distance"],
        text="50 steps cost no more than in the paper's table: 4.67 / 4.04 of the distance",
    ),
    Claim(
        "ddim-speedup",
        effect=speed_up,
        margin=1.0,
        text="the fewest steps that cost no more take less than a tenth of the whole chain's time",
    ),
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
        "the same noise gives the same digit: pixels of ten and of all steps agree",
        effect=lambda m: m["ddim-10/agreement"] - 0.9,
    ),
    Finding(
        "a kernel test does not tell the drawn digits from real ones",
        effect=lambda m: m["ddim-50/p"] - 0.05,
    ),
    Control("the reader reads nine of ten digits", effect=lambda m: m["reader"] - 0.9),
    Control(
        "the whole chain lands at under a third of the untaught network's distance",
        effect=lambda m: math.log(m["untaught/distance"] / m["ancestral-all/distance"] / 3),
    ),
    Control("the kernel test passes real digits", effect=lambda m: m["floor/p"] - 0.05),
)
ABLATIONS = ("wrong_schedule",)
SEEDS = 6
SCALES = {
    "smoke": {
        "updates": 2, "reader_updates": 2, "steps": (51, 50, 10), "samples": 8, "width": 4,
    },
    "tour": {"updates": 190, "reader_updates": 250, "steps": (200, 50, 10), "samples": 24},
    "large": {"updates": 20_000, "batch": 128, "samples": 500, "width": 64},
}  # fmt: skip


class DdpmStepsSettings(Settings):
    """A smoke run draws a few digits from an untaught network; a tour draws fewer of them."""

    updates: Annotated[int, Range(1, 1_000_000)] = 800
    """Optimiser steps of the denoiser."""
    batch: Annotated[int, Range(1, 4_096, "images")] = 32
    """Images in a batch."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 3e-3
    """Highest learning rate."""
    width: Annotated[int, Field(multiple_of=4), Range(4, 256, "channels")] = 12
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
            seconds[f"{arm}/seconds"] = torch.tensor(watch.seconds)
    measured |= {key: float(value) for key, value in seconds.items()}
    real, target = others.chunk(2)
    judge = partial(compare, reader=reader, target=target, lab=lab)
    for arm, images in drawn.items():
        measured |= {f"{arm}/{name}": value for name, value in judge([images]).items()}
    draws = (torch.randperm(len(real), generator=lab.rng("real", i)) for i in range(20))
    floor = judge([real[order[: settings.samples]] for order in draws])
    measured |= {f"floor/{name}": value for name, value in floor.items()}
    lab.figure("drawings", picture({**drawn, "real": real}))
    for kind in ("ancestral", "ddim"):
        whole = f"{kind}-{settings.steps[0]}"
        for name in ("distance", "seconds"):
            measured[f"{kind}-all/{name}"] = measured[f"{whole}/{name}"]
        pixels = torch.stack([drawn[f"{kind}-10"].flatten(), drawn[whole].flatten()])
        measured[f"{kind}-10/agreement"] = float(torch.corrcoef(pixels)[0, 1])
    return measured


def learn_samplers(images: Tensor, settings: DdpmStepsSettings, lab: Lab) -> Samplers:
    """Teach the denoiser; all that draws with it, from the same noise."""
    chain = settings.steps[0]
    schedule = ddpm.linear_schedule(chain, first=0.1 / chain, last=20 / chain)  # as the paper's
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
        loss = ddpm.simple_loss(
            net, schedule, x0, eps, ddpm.spread_times(chain, settings.batch, rng)
        )
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.updates, warmup=50))
        optimiser.step()
        mean.update(net)
        lab.log(loss=loss)
    shape = (settings.samples, *images.shape[1:])
    noise = torch.randn(shape, generator=lab.rng("noise"), device=lab.device)
    # an arm that skips steps looks up how noisy its images are; the ablation's table is wrong
    walked = ddpm.cosine_schedule(chain) if lab.ablated("wrong_schedule") else schedule
    arms = samplers(mean.model, schedule, walked, noise, settings.steps, lab)
    return arms | {"untaught": partial(ddim, untaught, schedule, noise, settings.steps[-1])}


def draw(results: Sequence[Measured], settings: DdpmStepsSettings) -> dict[str, Figure]:
    """Distance by the number of steps, with intervals over the seeds."""
    return {"steps": distances(results, settings.steps)}
