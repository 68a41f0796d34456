"""DDIM: the same network, a tenth of the steps or fewer, and no noise on the way.

Source: Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502,
equations 12 to 14 and 16, appendix D.2 for the times.
Differs from the paper: the last step goes to the data themselves (alpha_bar = 1), and times may
also be spaced from the chain's end ("trailing", Lin et al. 2024, arXiv:2305.08891), so that
sampling starts where the image is pure noise.

DDPM trains on q(x_t | x0) alone, so any process with these marginals may be walked back with its
network. One family keeps a share eta of DDPM's noise. With eta = 1 and every step it is DDPM; with
eta = 0 there is no chance left: noise is a code for the image, steps may be skipped, and each one
is an Euler step of the ordinary differential equation d(x / a) = eps d(s / a), with a =
sqrt(alpha_bar) and s = sqrt(1 - alpha_bar), which can be walked in either direction.

Symbols: as in `ddpm`; times are the steps of the chain that are visited, the noisiest first.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor

from orrery.catalog import System
from orrery.systems.generative.ddpm import Data, Denoiser, NoiseSchedule

SYSTEM = System(
    stem="ddim", area="generative", title="DDIM", year=2020,
    papers=("arXiv:2010.02502", "arXiv:2305.08891"), builds_on=("ddpm",),
    realises=("ddim",),
)  # fmt: skip

DATA = -1  # the time after the last step back: no noise is left

Spacing = Literal["leading", "trailing", "quadratic"]
"""leading: equal gaps from step 0; trailing: equal gaps from the last step; quadratic: gaps that
grow with the noise (the paper's choice for CIFAR-10)."""


def spaced_times(total: int, steps: int, spacing: Spacing = "trailing") -> tuple[int, ...]:
    """`steps` of the chain's `total` times, the noisiest first.

    Raises:
        ValueError: more steps than the chain has, or none.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"steps must be from 1 to {total}, got {steps}")
    if spacing == "leading":
        return tuple(i * (total // steps) for i in reversed(range(steps)))
    if spacing == "trailing":
        return tuple(round(total - i * total / steps) - 1 for i in range(steps))
    gap = (total - 1) / max(steps - 1, 1) ** 2
    # rounding would visit the first, least noisy times twice: then they move up by one
    return tuple(max(i, round(gap * i**2)) for i in reversed(range(steps)))


def ddim_step(
    schedule: NoiseSchedule, x: Data, eps: Data, t: int, to: int, eta: float, z: Tensor | None
) -> Data:
    """From x at time t to an earlier (or later) time: equation 12.

    Args:
        schedule: of the chain.
        x: where the step begins.
        eps: the noise in x.
        t: the time of x; DATA for the data themselves.
        to: the time the step goes to.
        eta: the share of DDPM's noise, equation 16.
        z: fresh noise N(0, 1); needed where eta is above 0.
    """
    left, left_then = schedule.left(t), schedule.left(to)
    sigma = 0.0
    if eta > 0:
        sigma = eta * math.sqrt((1 - left_then) / (1 - left) * (1 - left / left_then))
    x0 = (x - math.sqrt(1 - left) * eps) / math.sqrt(left)
    direction = math.sqrt(max(1 - left_then - sigma**2, 0.0)) * eps
    stepped = math.sqrt(left_then) * x0 + direction
    return stepped if z is None or sigma == 0 else stepped + sigma * z


@torch.no_grad()
def ddim_sample(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    x: Data,
    times: Sequence[int],
    *,
    eta: float = 0.0,
    generator: Generator | None = None,
) -> Data:
    """Data, from noise, by the steps in `times`.

    Args:
        denoiser: guesses the noise.
        schedule: of the chain the denoiser was trained on.
        x: noise, N(0, 1); with eta = 0 the same noise always gives the same data.
        times: visited, the noisiest first; any part of the chain.
        eta: 0 for the differential equation, 1 for DDPM's noise.
        generator: the source of that noise.

    Raises:
        ValueError: times do not fall, or eta needs a generator.
    """
    _check(schedule, times)
    if eta > 0 and generator is None:
        raise ValueError(f"generator must be given where eta is above 0, got eta={eta}")
    for t, to in pairwise((*times, DATA)):
        eps = denoiser(x, torch.full(x.shape[:1], t, device=x.device))
        z = None
        if eta > 0 and to != DATA:
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        x = ddim_step(schedule, x, eps, t, to, eta, z)
    return x


@torch.no_grad()
def ddim_encode(denoiser: Denoiser, schedule: NoiseSchedule, x: Data, times: Sequence[int]) -> Data:
    """The noise that `ddim_sample` turns into x: the same equation, walked the other way.

    The more times, the closer it comes: each step uses the noise where it begins, and the way
    back begins at its other end.

    Args:
        denoiser: guesses the noise.
        schedule: of the chain.
        x: data.
        times: visited, the noisiest first, as for sampling.

    Raises:
        ValueError: times do not fall.
    """
    _check(schedule, times)
    for t, to in pairwise((DATA, *reversed(times))):
        # nearly no noise is in the data: the network is asked about its least noisy time
        asked = to if t == DATA else t
        eps = denoiser(x, torch.full(x.shape[:1], asked, device=x.device))
        x = ddim_step(schedule, x, eps, t, to, 0.0, None)
    return x


def _check(schedule: NoiseSchedule, times: Sequence[int]) -> None:
    inside = len(times) > 0 and times[0] < len(schedule) and times[-1] >= 0
    if not inside or any(later >= t for t, later in pairwise(times)):
        raise ValueError(f"times must fall from at most {len(schedule) - 1} to 0, got {times}")
