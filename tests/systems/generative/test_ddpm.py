import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.generative.ddpm import (
    NoiseSchedule,
    ancestral_sample,
    clipped,
    cosine_schedule,
    gaussian_denoiser,
    linear_schedule,
    simple_loss,
    spread_times,
)

DOUBLE = torch.float64


def mixture_denoiser(schedule, centres, deviation):
    """The noise in x, exactly, where the data are equal round Gaussians about `centres`."""

    def denoiser(x, t):
        left = schedule.alpha_bar[t][:, None].to(x.dtype)
        total = left * deviation**2 + 1 - left
        away = x[:, None] - left.sqrt()[..., None] * centres  # [b, centres, 2]
        share = (-away.square().sum(-1) / (2 * total)).softmax(dim=1)
        return (1 - left).sqrt() * (share[..., None] * away).sum(dim=1) / total

    return denoiser


@pytest.mark.parametrize("beta", [[], [0.0], [0.1, 1.0], [0.1, -0.1], [math.nan]])
def test_a_beta_outside_0_to_1_is_refused(beta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        NoiseSchedule(torch.tensor(beta))


@settings(max_examples=10, deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=0, max_size=3), batch=st.integers(1, 4))
def test_any_shape_of_data_goes_there_and_back(shape, batch):
    schedule = linear_schedule(10)
    x0, eps = torch.randn(batch, *shape, dtype=DOUBLE), torch.randn(batch, *shape, dtype=DOUBLE)
    t = torch.randint(10, (batch,))
    x = schedule.noised(x0, eps, t)
    torch.testing.assert_close(schedule.denoised(x, eps, t), x0)
    torch.testing.assert_close(schedule.noise(x, x0, t), eps)


@pytest.mark.parametrize("schedule", [linear_schedule(50, last=0.3), cosine_schedule(50)])
def test_the_closed_form_is_the_chain(schedule):
    # mean and variance of x_t given x0 = 1, step by step (equation 2) and at once (equation 4)
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.beta.tolist()):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        at, one, none = torch.tensor([t]), torch.ones(1, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE)
        torch.testing.assert_close(schedule.noised(one, none, at).item(), mean)
        torch.testing.assert_close(schedule.noised(none, one, at).item() ** 2, variance)


@pytest.mark.parametrize("t", [1, 7, 49])
def test_the_posterior_is_bayes_rule(t):
    # q(x_{t-1} | x_t, x0) from the product of its two Gaussians, N(x_{t-1}; ...) each
    schedule, x0, x = linear_schedule(50), 0.7, -0.4
    beta, before = float(schedule.beta[t]), float(schedule.alpha_bar[t - 1])
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean = (math.sqrt(1 - beta) * x / beta + math.sqrt(before) * x0 / (1 - before)) / precision
    ours = schedule.posterior_mean(torch.tensor([x0]).double(), torch.tensor([x]).double(), t)
    torch.testing.assert_close(ours.item(), mean)
    torch.testing.assert_close(schedule.step_variance(t, "posterior"), 1 / precision)
    assert schedule.step_variance(t, "beta") == beta > 1 / precision


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_simple_loss_is_the_bound_without_its_weight(variance):
    # KL of two Gaussians of equal variance: squared distance of the means over 2 sigma^2
    schedule, t = linear_schedule(1000), 300
    x0, eps, guess = torch.randn(3, 5, 4, dtype=DOUBLE)
    at = torch.full((5,), t)
    x = schedule.noised(x0, eps, at)
    gap = schedule.posterior_mean(x0, x, t) - schedule.step_mean(x, guess, t)
    kl = gap.square() / (2 * schedule.step_variance(t, variance))
    torch.testing.assert_close(kl, schedule.bound_weight(t, variance) * (eps - guess).square())
    loss = simple_loss(lambda *_: guess, schedule, x0, eps, at)
    torch.testing.assert_close(loss, (eps - guess).square().mean())


def test_the_bound_says_nothing_where_the_posterior_is_certain():
    with pytest.raises(ValueError, match="t must be at least 1"):
        linear_schedule().bound_weight(0, "posterior")
    schedule = linear_schedule()
    assert 26 < schedule.bound_weight(1, "beta") / schedule.bound_weight(999, "beta") < 28


def test_times_of_a_batch_are_even_and_all_times_are_as_likely():
    generator = torch.Generator().manual_seed(0)
    times = torch.stack([spread_times(100, 10, generator) for _ in range(500)])
    assert times.min() == 0
    assert times.max() == 99
    assert ((times // 10).sort(dim=1).values == torch.arange(10)).all()  # one in each tenth
    assert times.flatten().bincount(minlength=100).min() > 20  # 50 expected


def test_what_is_left_of_the_data_is_a_kl_of_two_gaussians():
    schedule, x0 = linear_schedule(), torch.randn(3, 2, dtype=DOUBLE)
    for t in (0, 100, 999):
        ones = torch.ones_like(x0)
        at = torch.full((3,), t)
        mean, spread = schedule.noised(x0, 0 * ones, at), schedule.noised(0 * ones, ones, at)
        q, p = torch.distributions.Normal(mean, spread), torch.distributions.Normal(0 * ones, ones)
        nats = torch.distributions.kl_divergence(q, p).mean().item()
        assert schedule.bits_left(x0, t) == pytest.approx(nats / math.log(2), rel=1e-9)
    assert schedule.bits_left(x0, 999) < 1e-4


def test_a_step_with_the_true_noise_goes_to_the_posterior_mean():
    schedule = cosine_schedule(100)
    x0, eps = torch.randn(2, 3, 4, dtype=DOUBLE)
    for t in (0, 1, 50, 99):
        x = schedule.noised(x0, eps, torch.full((3,), t))
        expected = schedule.posterior_mean(x0, x, t)
        torch.testing.assert_close(schedule.step_mean(x, eps, t), expected)


def test_the_beta_variance_is_exact_for_standard_normal_data_and_the_posterior_for_a_point():
    # both choices of section 3.2, with the known best denoiser and moments instead of samples
    schedule = linear_schedule(60, last=0.2)
    unit, point = gaussian_denoiser(schedule, 0.0, 1.0), gaussian_denoiser(schedule, 0.6, 0.0)
    x = torch.ones(1, dtype=DOUBLE)
    variance = 1.0
    for t in reversed(range(60)):
        slope = float(schedule.step_mean(x, unit(x, torch.tensor([t])), t))
        noise = schedule.step_variance(t, "beta") if t else 0.0
        variance = slope**2 * variance + noise
    assert abs(variance - (1 - float(schedule.beta[0]))) < 1e-12
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(5, 2, dtype=DOUBLE, generator=generator)
    out = ancestral_sample(point, schedule, noise, generator=generator)
    torch.testing.assert_close(out, torch.full_like(out, 0.6))


def test_eight_clusters_come_out_as_eight_clusters():
    schedule = linear_schedule(500, last=0.04)
    angles = torch.arange(8, dtype=DOUBLE) * math.pi / 4
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1600, 2, dtype=DOUBLE, generator=generator)
    denoiser = mixture_denoiser(schedule, centres, 0.1)
    out = ancestral_sample(denoiser, schedule, noise, generator=generator)
    distance, cluster = torch.cdist(out, centres).min(dim=1)
    assert distance.square().mean().sqrt() == pytest.approx(0.1 * math.sqrt(2), rel=0.07)
    assert cluster.bincount(minlength=8).min() > 140  # 200 expected, standard deviation 13


def test_a_small_network_learns_two_clusters():
    torch.manual_seed(0)
    schedule = linear_schedule(100, last=0.2)
    network = nn.Sequential(
        nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
    )

    def denoiser(x, t):
        return network(torch.cat([x, t[:, None] / 100], dim=1))

    centres = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    noise = torch.randn(400, 2)
    before = ancestral_sample(denoiser, schedule, noise, generator=torch.Generator())
    for _ in range(300):
        x0 = centres[torch.randint(2, (256,))] + 0.1 * torch.randn(256, 2)
        t = torch.randint(100, (256,))
        loss = simple_loss(denoiser, schedule, x0, torch.randn(256, 2), t)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = ancestral_sample(denoiser, schedule, noise, generator=torch.Generator())
    near = [(torch.cdist(x, centres).amin(1) < 0.5).float().mean() for x in (before, after)]
    assert near[0] < 0.3
    assert near[1] > 0.9


def test_clipping_keeps_the_data_inside_and_leaves_good_guesses_alone():
    schedule = linear_schedule(100)
    x, t = torch.randn(4, 6, dtype=DOUBLE), torch.tensor([0, 3, 50, 99])
    wild = clipped(lambda x, t: 3 * torch.ones_like(x), schedule)
    x0 = schedule.denoised(x, wild(x, t), t)
    assert x0.abs().max() <= 1 + 1e-9
    eps = schedule.noise(x, 0.5 * torch.ones_like(x), t)
    torch.testing.assert_close(clipped(lambda x, t: eps, schedule)(x, t), eps)


@pytest.mark.parity
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("clip", [False, True])
def test_steps_are_those_of_diffusers(variance, clip):
    from diffusers import DDPMScheduler

    kind = {"posterior": "fixed_small", "beta": "fixed_large"}[variance]
    schedule = linear_schedule()
    theirs = DDPMScheduler(variance_type=kind, clip_sample=clip)
    theirs.betas, theirs.alphas = schedule.beta, 1 - schedule.beta
    theirs.alphas_cumprod = torch.cumprod(theirs.alphas, dim=0)
    x, eps, z = torch.randn(3, 4, 3, dtype=DOUBLE)
    at = torch.tensor([0, 9, 500, 999])
    torch.testing.assert_close(schedule.noised(x, eps, at), theirs.add_noise(x, eps, at))
    for t in (1, 9, 500, 999):
        guess = eps
        if clip:
            guess = clipped(lambda x, t: eps, schedule)(x, torch.full((4,), t))
        generator = torch.Generator().manual_seed(t)
        z = torch.randn(x.shape, generator=generator, dtype=DOUBLE)
        expected = theirs.step(eps, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        ours = schedule.step_mean(x, guess, t) + schedule.step_variance(t, variance) ** 0.5 * z
        torch.testing.assert_close(ours, expected)


@pytest.mark.parity
def test_schedules_are_those_of_diffusers():
    from diffusers import DDPMScheduler

    for name, ours in (("linear", linear_schedule()), ("squaredcos_cap_v2", cosine_schedule())):
        theirs = DDPMScheduler(beta_schedule=name).betas.double()  # kept in float32 there
        torch.testing.assert_close(ours.beta, theirs, rtol=1e-6, atol=1e-9)
