import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.generative.ddim import ddim_sample, spaced_times
from orrery.systems.generative.ddpm import (
    cosine_schedule,
    gaussian_denoiser,
    linear_schedule,
)
from orrery.systems.generative.dpm_solver import (
    dpm_solver_sample,
    log_signal,
    log_spaced_times,
)

DOUBLE = torch.float64
LINEAR = linear_schedule()


@pytest.mark.parametrize("times", [(), (3, 5), (5, 5)])
def test_times_that_do_not_fall_are_refused(times):
    with pytest.raises(ValueError, match="times must fall"):
        dpm_solver_sample(lambda x, t: x, LINEAR, torch.zeros(1, 1), times)


@pytest.mark.parametrize("steps", [0, 1001])
def test_more_steps_than_the_chain_are_refused(steps):
    with pytest.raises(ValueError, match="from 1 to 1000"):
        log_spaced_times(LINEAR, steps)


@given(steps=st.integers(1, 100), cosine=st.booleans())
def test_times_fall_and_gain_equal_signal(steps, cosine):
    schedule = cosine_schedule() if cosine else LINEAR
    times = log_spaced_times(schedule, steps)
    assert len(times) == steps
    assert all(later < t for t, later in pairwise(times))
    assert times[0] == 999
    assert times[-1] >= 0


def test_gains_are_equal_where_the_chain_is_fine_enough():
    signal = [log_signal(LINEAR, t) for t in log_spaced_times(LINEAR, 10)]
    gains = [later - t for t, later in pairwise(signal)]
    assert max(gains) / min(gains) < 1.1
    assert log_signal(LINEAR, -1) == math.inf


def test_one_step_is_ddims():
    denoiser = gaussian_denoiser(LINEAR, 0.7, 0.16)
    x = torch.randn(4, 2, dtype=DOUBLE)
    torch.testing.assert_close(
        dpm_solver_sample(denoiser, LINEAR, x, (999,)), ddim_sample(denoiser, LINEAR, x, (999,))
    )


def test_it_is_second_order_and_far_closer_than_ddim():
    # steps between two inner times; the exact flow of Gaussian data is known (see test_ddim)
    schedule = linear_schedule(20_000, first=5e-6, last=1e-3)
    mean, variance = 0.7, 0.16
    denoiser = gaussian_denoiser(schedule, mean, variance)
    x = torch.linspace(-2, 2, 5, dtype=DOUBLE)[:, None]

    def error(sample, steps):
        times = log_spaced_times(schedule, steps)
        left = schedule.left(times[0])
        exact = mean + math.sqrt(variance / (left * variance + 1 - left)) * (
            x - math.sqrt(left) * mean
        )
        return float((sample(denoiser, schedule, x, times) - exact).abs().max())

    fine, coarse = error(dpm_solver_sample, 160), error(dpm_solver_sample, 40)
    assert coarse / fine > 10  # 16 for second order, 4 for first
    assert error(ddim_sample, 40) > 10 * coarse


@pytest.mark.parity
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_samples_are_those_of_diffusers(steps):
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(timestep_spacing="trailing")
    theirs.alphas_cumprod = LINEAR.alpha_bar
    theirs.set_timesteps(steps)
    # set_timesteps rounds sigmas to float32: give back the digits
    left = LINEAR.alpha_bar[theirs.timesteps]
    theirs.sigmas = torch.cat([((1 - left) / left).sqrt(), torch.zeros(1, dtype=DOUBLE)])
    denoiser = gaussian_denoiser(LINEAR, 0.7, 0.16)
    x = torch.randn(4, 3, dtype=DOUBLE)
    times = spaced_times(1000, steps)
    assert list(times) == theirs.timesteps.tolist()
    expected, guesses = x, []
    for place, t in enumerate(theirs.timesteps):
        # what its `step` does, but for rounding to float32 in between
        theirs._step_index = place
        eps = denoiser(expected, t.repeat(4))
        guesses.append(theirs.convert_model_output(eps, sample=expected))
        if place in (0, steps - 1):
            expected = theirs.dpm_solver_first_order_update(guesses[-1], sample=expected)
        else:
            expected = theirs.multistep_dpm_solver_second_order_update(guesses, sample=expected)
    torch.testing.assert_close(dpm_solver_sample(denoiser, LINEAR, x, times), expected)
