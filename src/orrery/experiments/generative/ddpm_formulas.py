"""Do DDPM's formulas say what its chain does, on real digits?

The chain is walked step by step on MNIST digits, and its slope and variance are compared with the
closed form. What the last step still tells of a digit is counted in bits a pixel. The terms of the
variational bound are compared with the squared error of the guessed noise, weight by weight. And
the sampler runs back on a Gaussian with the mean and covariance of the digits, whose best denoiser
is known: as every step is affine, mean and variance of what comes out follow without sampling.

The plan calls the squared error the training objective; it is the bound with its weights dropped,
and tested is that those are far from equal. The plan's sampler leaves sigma open: tested are both
choices of the paper.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import mnist
from orrery.data.pictures import draw_pictures
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.generative.ddpm import (
    NoiseSchedule,
    Variance,
    gaussian_denoiser,
    linear_schedule,
)

LITTLE = 1e-4  # bits a pixel; the paper reports about a tenth of it

CLAIMS = (
    Claim(
        "ddpm-closed-form",
        effect=lambda m: 0.05 - m["chain/gap"],
        text="a thousand small steps land where the closed form says",
    ),
    Claim(
        "ddpm-T1000",
        effect=lambda m: LITTLE - m["bits/1000"],
        text="after a thousand steps next to nothing of the digit is left",
    ),
    Claim(
        "ddpm-loss",
        effect=lambda m: m["bound/weight_ratio"],
        margin=20.0,
        text="the simple loss drops the bound's weights, which differ twentyfold over the steps",
    ),
    Claim(
        "ddpm-sampler",
        effect=lambda m: 0.01 - max(m["sampler/beta"], m["sampler/posterior"]),
        text="the sampler's update, with either variance, turns noise into the data's Gaussian",
    ),
    Finding(
        "a thousand steps are not many more than needed: three hundred fewer leave too much",
        effect=lambda m: m["bits/700"] - LITTLE,
    ),
    Control(
        "each term of the bound is its weight times the squared error",
        effect=lambda m: 1e-9 - m["bound/gap"],
    ),
)
ABLATIONS = ("no_shrinking",)
SEEDS = 3
SCALES = {"smoke": {"digits": 40}, "tour": {"digits": 100}, "large": {"digits": 4_000}}
LOOKS = (100, 200, 300, 500, 700, 1000)  # steps after which the chain is looked at


class DdpmFormulasSettings(Settings):
    """A smoke run walks the chain with fewer digits."""

    digits: Annotated[int, Range(16, 4_000)] = 400
    """Digits that the chain is walked with."""


def run(settings: DdpmFormulasSettings, lab: Lab) -> Measured:
    """Compare the four formulas with what they stand for."""
    schedule = linear_schedule()
    train, _ = mnist.load()
    images, _ = draw_pictures(train, settings.digits, lab.rng("digits"), halvings=1)
    measured = walk(images, schedule, lab)
    x0 = images.double()
    measured |= {f"bits/{n}": schedule.bits_left(x0, n - 1) for n in LOOKS}
    measured |= bound(x0, schedule, lab)
    everything, _ = draw_pictures(train, len(train), lab.rng("digits"), halvings=1)
    pixels = everything.double().flatten(1)
    variances, axes = torch.linalg.eigh(torch.cov(pixels.T))
    mean, variance = pixels.mean(dim=0) @ axes, variances.clamp(min=0)
    for kind in ("posterior", "beta"):
        measured[f"sampler/{kind}"] = miss(mean, variance, schedule, kind)
    return measured


def walk(images: Tensor, schedule: NoiseSchedule, lab: Lab) -> Measured:
    """Add noise step by step; what is left of the images, and how much noise there is."""
    rng, x, found = lab.rng("chain"), images, {}
    for t, beta in enumerate(schedule.beta.tolist()):
        kept = 1.0 if lab.ablated("no_shrinking") else (1 - beta) ** 0.5
        x = kept * x + beta**0.5 * torch.randn(x.shape, generator=rng, device=x.device)
        if t + 1 in LOOKS:
            slope = float((x * images).sum() / images.square().sum())
            noise = float((x - slope * images).square().mean())
            found[f"chain/slope/{t + 1}"], found[f"chain/noise/{t + 1}"] = slope, noise
    gaps = [
        max(abs(found[f"chain/slope/{n}"] - left**0.5), abs(found[f"chain/noise/{n}"] - 1 + left))
        for n, left in ((n, schedule.left(n - 1)) for n in LOOKS)
    ]
    return found | {"chain/gap": max(gaps)}


def bound(x0: Tensor, schedule: NoiseSchedule, lab: Lab) -> Measured:
    """Terms of the bound against weighted squared errors, for guesses that are a little off."""
    rng, gaps = lab.rng("bound"), []
    eps, off = (
        torch.randn(x0.shape, generator=rng, device=x0.device, dtype=x0.dtype) for _ in range(2)
    )
    for t in (1, 10, 100, 999):
        x = schedule.noised(x0, eps, torch.full(x0.shape[:1], t, device=x0.device))
        apart = schedule.posterior_mean(x0, x, t) - schedule.step_mean(x, eps + 0.1 * off, t)
        kl = apart.square() / (2 * schedule.step_variance(t, "beta"))  # of two Gaussians
        weighted = schedule.bound_weight(t, "beta") * (0.1 * off).square()
        gaps.append(float((kl.sum() / weighted.sum() - 1).abs()))
    ratio = schedule.bound_weight(1, "beta") / schedule.bound_weight(len(schedule) - 1, "beta")
    return {"bound/gap": max(gaps), "bound/weight_ratio": ratio}


def miss(mean: Tensor, variance: Tensor, schedule: NoiseSchedule, kind: Variance) -> float:
    """Distance of what the sampler makes of noise from the Gaussian N(mean, variance).

    The squared Fréchet distance, as a share of the Gaussian's whole variance.
    """
    denoiser = gaussian_denoiser(schedule, mean, variance)
    made_mean, made_variance = torch.zeros_like(mean), torch.ones_like(mean)
    for t in reversed(range(len(schedule))):
        probes = torch.stack([made_mean, made_mean + 1])
        eps = denoiser(probes, torch.full((2,), t, device=mean.device))
        made_mean, beyond = schedule.step_mean(probes, eps, t)
        fresh = schedule.step_variance(t, kind) if t > 0 else 0.0
        made_variance = (beyond - made_mean).square() * made_variance + fresh
    apart = (made_mean - mean).square() + (made_variance.sqrt() - variance.sqrt()).square()
    return float(apart.sum() / variance.sum())


def draw(results: Sequence[Measured], settings: DdpmFormulasSettings) -> dict[str, Figure]:
    """The chain, walked and in closed form; the bound's weights."""
    schedule = linear_schedule()
    figure, (chain, weights) = new_figure(8.4, 3.4, columns=2)
    steps = range(1, len(schedule) + 1)
    lines = (("slope", schedule.alpha_bar.sqrt()), ("noise", 1 - schedule.alpha_bar))
    for (name, curve), colour in zip(lines, COLOURS, strict=False):
        chain.plot(steps, curve.tolist(), color=colour, label=f"{name}, closed form")
        means, half = over_seeds(results, [f"chain/{name}/{n}" for n in LOOKS])
        chain.errorbar(LOOKS, means, half, fmt="o", color=colour, label=f"{name}, walked")
    chain.set(title="A chain is one Gaussian", xlabel="steps")
    chain.legend()
    weights.plot(steps, [schedule.bound_weight(t - 1, "beta") for t in steps], color=COLOURS[2])
    weights.set(title="Weights that training drops", xlabel="step", xscale="log", yscale="log")
    return {"formulas": figure}
