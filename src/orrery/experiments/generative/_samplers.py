"""Three ways from noise to data in n steps, each keeping the denoised data inside [-1, 1]."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Generator

from orrery.lab import Lab
from orrery.systems.generative.ddim import ddim_sample, spaced_times
from orrery.systems.generative.ddpm import Data, Denoiser, NoiseSchedule, clipped
from orrery.systems.generative.dpm_solver import dpm_solver_sample, log_spaced_times

Samplers = dict[str, Callable[[], Data]]
"""By arm: what draws."""


def ddim(denoiser: Denoiser, schedule: NoiseSchedule, noise: Data, n: int) -> Data:
    """By the differential equation."""
    times = spaced_times(len(schedule), n)
    return ddim_sample(clipped(denoiser, schedule), schedule, noise, times)


def ancestral(
    denoiser: Denoiser, schedule: NoiseSchedule, noise: Data, n: int, generator: Generator
) -> Data:
    """With all of DDPM's noise: with every step of the chain it is DDPM's own sampler."""
    times = spaced_times(len(schedule), n)
    return ddim_sample(
        clipped(denoiser, schedule), schedule, noise, times, eta=1.0, generator=generator
    )


def solver(denoiser: Denoiser, schedule: NoiseSchedule, noise: Data, n: int) -> Data:
    """By the second-order solver, in equal gains of signal."""
    times = log_spaced_times(schedule, n)
    return dpm_solver_sample(clipped(denoiser, schedule), schedule, noise, times)


def samplers(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    walked: NoiseSchedule,
    noise: Data,
    steps: Sequence[int],
    lab: Lab,
) -> Samplers:
    """Every way with every number of steps; the equation skips along `walked`."""
    arms: Samplers = {}
    for n in steps:
        rng = lab.rng("ancestral", n)
        arms[f"ancestral-{n}"] = partial(ancestral, denoiser, schedule, noise, n, rng)
        known = schedule if n == len(schedule) else walked
        arms[f"ddim-{n}"] = partial(ddim, denoiser, known, noise, n)
        if n <= 20:
            arms[f"solver-{n}"] = partial(solver, denoiser, walked, noise, n)
    return arms
