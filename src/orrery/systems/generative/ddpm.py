"""DDPM: learn to take a little noise away, then take it away a thousand times.

Source: Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239,
equations 2 to 15, algorithms 1 and 2. The cosine schedule is equation 17 of Nichol and Dhariwal
2021, arXiv:2102.09672.
Differs from the paper: times are counted from 0, so that t here is t + 1 there; coefficients are
kept in float64; training may spread a batch's times evenly (`spread_times`). Keeping the denoised
image inside [-1, 1] at every step of the sampler, which the authors' code does and their algorithm
2 does not, is the caller's choice (`clipped`).

The forward chain is fixed: q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t). Any number of
its steps is one Gaussian, so training needs no chain: mix data and noise, and guess the noise.
Sampling walks the chain back, one Gaussian step p(x_{t-1} | x_t) after another.

Symbols: x0 the data, x the noisy data x_t, eps the noise in it, z fresh noise; beta the variance
that step t adds, alpha_bar the product of 1 - beta up to t: the share of the data's variance that
is left, a and s the square roots of alpha_bar and of 1 - alpha_bar; sigma^2 the variance of a step
back.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="ddpm", area="generative", title="DDPM", year=2020,
    papers=("arXiv:2006.11239", "arXiv:2102.09672"), builds_on=(),
    realises=("ddpm",),
)  # fmt: skip

Data = Float[Tensor, "b *shape"]  # images, points, anything; images in [-1, 1]
Times = Int[Tensor, " b"]  # from 0, the first and least noisy step
Amplitude = Float[Tensor, "b *ones"]  # one number a row, shaped to multiply data
Steps = Float[Tensor, " steps"]  # one number a step of the chain

Denoiser = Callable[[Data, Times], Data]
"""eps(x, t): the noise in x, as a network or a formula has it."""

Variance = Literal["posterior", "beta"]
"""The two extreme choices of sigma^2 (section 3.2): the first is exact for data that are a single
point, the second for data that are N(0, 1)."""


class NoiseSchedule:
    """How much noise each step of the chain adds, and what follows from that alone."""

    def __init__(self, beta: Steps) -> None:
        """The chain whose step t adds variance beta[t].

        Raises:
            ValueError: a beta is outside (0, 1), or there is none.
        """
        if not len(beta) or not bool(((beta > 0) & (beta < 1)).all()):
            raise ValueError(f"beta must be one or more numbers between 0 and 1, got {beta}")
        self.beta = beta.double()
        self.alpha_bar = torch.cumprod(1 - self.beta, dim=0)

    def __len__(self) -> int:
        return len(self.beta)

    def left(self, t: int) -> float:
        """alpha_bar: the share of the data's variance that is left after step t; at -1, all."""
        return float(self.alpha_bar[t]) if t >= 0 else 1.0

    def noised(self, x0: Data, eps: Data, t: Times) -> Data:
        """A sample of q(x_t | x0), all steps at once: equation 4."""
        a, s = self.amplitudes(t, x0)
        return a * x0 + s * eps

    def denoised(self, x: Data, eps: Data, t: Times) -> Data:
        """The data that x was, if the noise in it is eps: equation 15."""
        a, s = self.amplitudes(t, x)
        return (x - s * eps) / a

    def noise(self, x: Data, x0: Data, t: Times) -> Data:
        """The noise in x, if the data were x0."""
        a, s = self.amplitudes(t, x)
        return (x - a * x0) / s

    def posterior_mean(self, x0: Data, x: Data, t: int) -> Data:
        """The mean of q(x_{t-1} | x_t, x0): equation 7."""
        beta, before, left = float(self.beta[t]), self.left(t - 1), self.left(t)
        weight0 = math.sqrt(before) * beta / (1 - left)
        weight = math.sqrt(1 - beta) * (1 - before) / (1 - left)
        return weight0 * x0 + weight * x

    def step_variance(self, t: int, variance: Variance) -> float:
        """sigma^2 of the step back from t; the posterior's is equation 7's."""
        beta = float(self.beta[t])
        if variance == "beta":
            return beta
        return beta * (1 - self.left(t - 1)) / (1 - self.left(t))

    def step_mean(self, x: Data, eps: Data, t: int) -> Data:
        """The mean of the step back from t: algorithm 2, line 4 without its noise."""
        beta, left = float(self.beta[t]), self.left(t)
        return (x - beta / math.sqrt(1 - left) * eps) / math.sqrt(1 - beta)

    def bound_weight(self, t: int, variance: Variance) -> float:
        """What the variational bound multiplies step t's squared error by: equation 12.

        Raises:
            ValueError: the posterior's variance at t = 0 is 0, and the bound has no such term.
        """
        sigma2, beta = self.step_variance(t, variance), float(self.beta[t])
        if sigma2 == 0:
            raise ValueError(f"t must be at least 1 for the posterior's variance, got {t}")
        return beta**2 / (2 * sigma2 * (1 - beta) * (1 - self.left(t)))

    def bits_left(self, x0: Data, t: int) -> float:
        """What x_t still tells of the data: KL of q(x_t | x0) from N(0, 1), bits a number.

        At the last t it is the bound's term that no training can change (L_T in equation 5).
        """
        left = self.left(t)
        nats = 0.5 * (left * (x0.double().square() - 1) - math.log1p(-left))
        return float(nats.mean()) / math.log(2)

    def amplitudes(self, t: Times, like: Data) -> tuple[Amplitude, Amplitude]:
        """The factors a of the data and s of the noise, for each row of `like`."""
        left = self.alpha_bar.to(t.device)[t].reshape(-1, *[1] * (like.ndim - 1))
        return left.sqrt().to(like.dtype), (1 - left).sqrt().to(like.dtype)


def linear_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
    """The paper's: beta grows by equal amounts. The defaults are meant for a thousand steps."""
    return NoiseSchedule(torch.linspace(first, last, steps, dtype=torch.float64))


def cosine_schedule(steps: int = 1000, offset: float = 0.008) -> NoiseSchedule:
    """alpha_bar falls like a squared cosine, so that no step is wasted on pure noise."""
    share = torch.arange(steps + 1, dtype=torch.float64) / steps  # of the way to pure noise
    left = torch.cos((share + offset) / (1 + offset) * math.pi / 2).square()
    return NoiseSchedule((1 - left[1:] / left[:-1]).clamp(max=0.999))


def spread_times(total: int, batch: int, generator: Generator) -> Times:
    """A random time for each row, evenly spread over the chain: every batch has all kinds."""
    start = torch.rand((), generator=generator, device=generator.device)
    share = (start + torch.arange(batch, device=generator.device) / batch) % 1
    return (share * total).long().clamp(max=total - 1)


def simple_loss(
    denoiser: Denoiser, schedule: NoiseSchedule, x0: Data, eps: Data, t: Times
) -> Float[Tensor, ""]:
    """Mean squared error of the guessed noise: equation 14, the bound with its weights dropped."""
    return (denoiser(schedule.noised(x0, eps, t), t) - eps).square().mean()


def clipped(denoiser: Denoiser, schedule: NoiseSchedule, limit: float = 1.0) -> Denoiser:
    """The denoiser, correcting every guess whose denoised data leave [-limit, limit]."""

    def corrected(x: Data, t: Times) -> Data:
        x0 = schedule.denoised(x, denoiser(x, t), t).clamp(-limit, limit)
        return schedule.noise(x, x0, t)

    return corrected


def gaussian_denoiser(
    schedule: NoiseSchedule, mean: Tensor | float, variance: Tensor | float
) -> Denoiser:
    """The best possible denoiser of data N(mean, variance), one variance for each coordinate."""

    def expected_noise(x: Data, t: Times) -> Data:
        a, s = schedule.amplitudes(t, x)
        return s * (x - a * mean) / (a**2 * variance + s**2)

    return expected_noise


@torch.no_grad()
def ancestral_sample(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    x: Data,
    *,
    generator: Generator,
    variance: Variance = "posterior",
) -> Data:
    """Data, from noise, by every step of the chain: algorithm 2.

    Args:
        denoiser: guesses the noise.
        schedule: of the chain the denoiser was trained on.
        x: noise, N(0, 1).
        generator: the source of the noise that every step but the last adds.
        variance: of that noise.
    """
    for t in reversed(range(len(schedule))):
        eps = denoiser(x, torch.full(x.shape[:1], t, device=x.device))
        x = schedule.step_mean(x, eps, t)
        if t > 0:
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            x = x + math.sqrt(schedule.step_variance(t, variance)) * z
    return x
