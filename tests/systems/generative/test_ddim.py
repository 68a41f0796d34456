import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.generative.ddim import (
    DATA,
    ddim_encode,
    ddim_sample,
    ddim_step,
    spaced_times,
)
from orrery.systems.generative.ddpm import (
    cosine_schedule,
    gaussian_denoiser,
    linear_schedule,
)

DOUBLE = torch.float64
MEAN, DEVIATION = 0.7, 0.4  # of the Gaussian data whose best denoiser is known
LINEAR = linear_schedule()
GAUSSIAN = gaussian_denoiser(LINEAR, MEAN, DEVIATION**2)


def standard(x, t=DATA):
    """x in standard deviations of the noisy Gaussian data of time t."""
    left = LINEAR.left(t)
    return (x - math.sqrt(left) * MEAN) / math.sqrt(left * DEVIATION**2 + 1 - left)


@given(total=st.integers(1, 1000), part=st.floats(0, 1),
       spacing=st.sampled_from(["leading", "trailing", "quadratic"]))  # fmt: skip
def test_times_fall_and_stay_in_the_chain(total, part, spacing):
    steps = 1 + round(part * (total - 1))
    times = spaced_times(total, steps, spacing)
    assert len(times) == len(set(times)) == steps
    assert list(times) == sorted(times, reverse=True)
    assert times[0] < total
    assert times[-1] >= 0
    if spacing == "trailing":
        assert times[0] == total - 1


@pytest.mark.parametrize("steps", [0, 11])
def test_more_steps_than_the_chain_are_refused(steps):
    with pytest.raises(ValueError, match="from 1 to 10"):
        spaced_times(10, steps)


@pytest.mark.parametrize("times", [(), (3, 5), (5, 5), (1000, 1), (5, -1)])
def test_times_that_do_not_fall_are_refused(times):
    noise = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="times must fall"):
        ddim_sample(GAUSSIAN, LINEAR, noise, times)
    with pytest.raises(ValueError, match="times must fall"):
        ddim_encode(GAUSSIAN, LINEAR, noise, times)


def test_noise_needs_a_generator():
    with pytest.raises(ValueError, match="generator"):
        ddim_sample(GAUSSIAN, LINEAR, torch.zeros(1, 1), (5,), eta=0.5)


def test_with_all_steps_and_eta_1_it_is_ddpm():
    x, eps, z = torch.randn(3, 4, 2, dtype=DOUBLE)
    for t in (0, 1, 500, 999):
        expected = LINEAR.step_mean(x, eps, t) + LINEAR.step_variance(t, "posterior") ** 0.5 * z
        torch.testing.assert_close(ddim_step(LINEAR, x, eps, t, t - 1, 1.0, z), expected)


def test_with_eta_0_a_step_is_eulers_on_the_differential_equation():
    x, eps = torch.randn(2, 4, 2, dtype=DOUBLE)

    def ratio(t):
        return math.sqrt((1 - LINEAR.left(t)) / LINEAR.left(t))

    for t, to in ((999, 949), (500, 20), (20, DATA), (20, 40)):
        x_over_a = x / math.sqrt(LINEAR.left(t)) + (ratio(to) - ratio(t)) * eps
        expected = math.sqrt(LINEAR.left(to)) * x_over_a
        torch.testing.assert_close(ddim_step(LINEAR, x, eps, t, to, 0.0, None), expected)


@pytest.mark.parametrize("schedule", [LINEAR, cosine_schedule()])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_every_step_keeps_the_marginal(schedule, eta):
    # from q(x_t | x0) it must land on q(x_to | x0): mean and variance of the step, for x0 = 1
    one, zero = torch.ones(1, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE)
    for t, to in ((999, 700), (700, 3), (3, 0)):
        at = torch.tensor([t])
        x = schedule.noised(one, zero, at)
        mean = ddim_step(schedule, x, zero, t, to, eta, zero)
        torch.testing.assert_close(mean.item(), math.sqrt(schedule.left(to)))
        kept = ddim_step(schedule, schedule.noised(zero, one, at), one, t, to, eta, zero)
        added = ddim_step(schedule, zero, zero, t, to, eta, one)
        torch.testing.assert_close((kept**2 + added**2).item(), 1 - schedule.left(to))


def test_the_equation_carries_noise_to_data_at_the_same_number_of_deviations():
    # the exact flow of Gaussian data; the error falls with the step, as Euler's does
    x = torch.linspace(-2, 2, 5, dtype=DOUBLE)[:, None]
    errors = [
        (standard(ddim_sample(GAUSSIAN, LINEAR, x, spaced_times(1000, n))) - standard(x, 999))
        .abs().max().item()
        for n in (10, 100, 1000)
    ]  # fmt: skip
    assert errors[2] < 0.02
    assert 3 < errors[0] / errors[1] < 30
    assert 3 < errors[1] / errors[2] < 30


def test_the_equation_runs_backwards():
    data = MEAN + DEVIATION * torch.linspace(-2, 2, 5, dtype=DOUBLE)[:, None]
    errors = []
    for steps in (50, 1000):
        times = spaced_times(1000, steps)
        noise = ddim_encode(GAUSSIAN, LINEAR, data, times)
        errors.append((ddim_sample(GAUSSIAN, LINEAR, noise, times) - data).abs().max().item())
    torch.testing.assert_close(standard(noise, 999), standard(data), atol=0.02, rtol=0)
    assert errors[1] < 0.01
    assert errors[0] > 5 * errors[1]


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_gaussian_data_come_out_with_their_mean_and_spread(eta):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, dtype=DOUBLE, generator=generator)
    times = spaced_times(1000, 200)
    out = ddim_sample(GAUSSIAN, LINEAR, x, times, eta=eta, generator=generator)
    assert out.mean().item() == pytest.approx(MEAN, abs=0.02)  # standard error 0.006
    assert out.std().item() == pytest.approx(DEVIATION, rel=0.05)  # standard error 0.011


def test_same_noise_same_data_whatever_the_batch():
    x = torch.randn(4, 2, dtype=DOUBLE)
    times = spaced_times(1000, 20)
    together = ddim_sample(GAUSSIAN, LINEAR, x, times)
    alone = [ddim_sample(GAUSSIAN, LINEAR, row[None], times) for row in x]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)


@pytest.mark.parity
@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_steps_are_those_of_diffusers(eta, spacing):
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(timestep_spacing=spacing, clip_sample=False)
    theirs.alphas_cumprod = LINEAR.alpha_bar
    x, eps, z = torch.randn(3, 4, 3, dtype=DOUBLE)
    for steps in (10, 50, 1000):
        theirs.set_timesteps(steps)
        times = spaced_times(1000, steps, spacing)
        assert list(times) == theirs.timesteps.tolist()
        # diffusers steps by 1000 // steps whatever the times; these are the same where it divides
        for t, to in [(times[0], times[1]), (times[-2], times[-1])]:
            expected = theirs.step(eps, t, x, eta=eta, variance_noise=z if eta else None)
            ours = ddim_step(LINEAR, x, eps, t, to, eta, z)
            torch.testing.assert_close(ours, expected.prev_sample)
