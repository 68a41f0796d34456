"""DPM-Solver++(2M): the same differential equation as DDIM's, a better step.

Source: Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
Models", arXiv:2211.01095, algorithm 2; the times of equal gaps in the log of the signal-to-noise
ratio are section 4.2 of Lu et al. 2022, "DPM-Solver", arXiv:2206.00927.
Differs from the paper: the last step goes to the data themselves (infinite signal), where the
formula becomes its first-order one and returns the denoised data.

DDIM holds the denoised data still during a step. Here they move on a straight line, drawn through
this step's guess and the one before: second order, at the same one call of the network a step.

Symbols: as in `ddpm`; a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar), lambda = log(a / s) half the
log signal-to-noise ratio, h its gain in a step, r the gain of the step before as a share of h.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from orrery.catalog import System
from orrery.systems.generative.ddim import DATA
from orrery.systems.generative.ddpm import Data, Denoiser, NoiseSchedule

SYSTEM = System(
    stem="dpm_solver", area="generative", title="DPM-Solver++", year=2022,
    papers=("arXiv:2211.01095", "arXiv:2206.00927"), builds_on=("ddpm", "ddim"),
    realises=(),
)  # fmt: skip


def log_signal(schedule: NoiseSchedule, t: int) -> float:
    """lambda: the log of signal over noise; infinite for the data."""
    left = schedule.left(t)
    return math.inf if left == 1 else 0.5 * math.log(left / (1 - left))


def log_spaced_times(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """`steps` times between which lambda gains equal amounts, the noisiest first.

    Raises:
        ValueError: more steps than the chain has, or none.
    """
    if not 1 <= steps <= len(schedule):
        raise ValueError(f"steps must be from 1 to {len(schedule)}, got {steps}")
    left = schedule.alpha_bar
    signal = 0.5 * (left / (1 - left)).log()  # falls with t
    wanted = torch.linspace(float(signal[-1]), float(signal[0]), steps + 1, dtype=left.dtype)[:-1]
    nearest = (signal[None] - wanted[:, None]).abs().argmin(dim=1).tolist()
    # near the data the chain is coarser than the gaps: no time is visited twice
    times = [int(nearest[0])]
    for place, t in enumerate(nearest[1:], start=1):
        times.append(max(min(int(t), times[-1] - 1), steps - 1 - place))
    return tuple(times)


@torch.no_grad()
def dpm_solver_sample(
    denoiser: Denoiser, schedule: NoiseSchedule, x: Data, times: Sequence[int]
) -> Data:
    """Data, from noise, by the steps in `times`; the same noise always gives the same data.

    Args:
        denoiser: guesses the noise.
        schedule: of the chain the denoiser was trained on.
        x: noise, N(0, 1).
        times: visited, the noisiest first.

    Raises:
        ValueError: times do not fall.
    """
    if not times or any(later >= t for t, later in pairwise(times)):
        raise ValueError(f"times must fall, got {times}")
    before: Tensor | None = None
    gain_before = 0.0
    for t, to in pairwise((*times, DATA)):
        asked = torch.full(x.shape[:1], t, device=x.device)
        x0 = schedule.denoised(x, denoiser(x, asked), asked)
        gain = log_signal(schedule, to) - log_signal(schedule, t)
        line = x0
        if before is not None and to != DATA:
            r = gain_before / gain
            line = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        shrink = math.sqrt((1 - schedule.left(to)) / (1 - schedule.left(t)))
        x = shrink * x - math.sqrt(schedule.left(to)) * math.expm1(-gain) * line
        before, gain_before = x0, gain
    return x
