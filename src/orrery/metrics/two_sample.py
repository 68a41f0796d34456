"""Do two samples come from one distribution? A kernel test whose false alarms are known.

Source: Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13, equation 3 for the unbiased
estimate of the squared maximum mean discrepancy (MMD), section 8 for the median as bandwidth.
Differs from the paper: the threshold comes from permutations rather than from an asymptotic null
distribution, so the level is exact for any sample size.

Symbols: k(x, y) = exp(-|x - y|^2 / (2 h^2)); h the bandwidth, n and m the sizes of the samples.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Points = Float[Tensor, "n d"]
Others = Float[Tensor, "m d"]
Kernel = Float[Tensor, "all all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoSampleTest:
    """What the test says."""

    mmd2: float
    """Unbiased estimate of the squared MMD; about 0, and often below, for equal distributions."""
    p: float
    """How often samples of one distribution look at least so different."""


def mmd_test(
    points: Points, others: Others, *, permutations: int, rng: Generator, bandwidth: float = 0.0
) -> TwoSampleTest:
    """Test whether both samples come from one distribution.

    Args:
        points: the first sample.
        others: the second.
        permutations: random relabellings that p is counted in; p is at least 1 / (1 + this).
        rng: draws them.
        bandwidth: h, in the points' unit; 0 takes the median distance of all points.

    Raises:
        ValueError: fewer than two points in either, no permutation, or a bandwidth below 0.
    """
    if permutations < 1 or not (bandwidth >= 0 and math.isfinite(bandwidth)):
        raise ValueError(
            f"permutations must be at least 1 and bandwidth at least 0, got {permutations} "
            f"and {bandwidth}"
        )
    n, m = len(points), len(others)
    if min(n, m) < 2:
        raise ValueError(f"each sample must have at least 2 points, got {n} and {m}")
    kernel = gaussian_kernel(torch.cat([points, others]).double(), bandwidth)
    observed = _mmd2(kernel, torch.arange(n + m)[None] < n)
    orders = torch.rand(permutations, n + m, generator=rng).argsort(dim=1)
    shuffled = _mmd2(kernel, orders < n)
    extreme = int((shuffled >= observed).sum())
    return TwoSampleTest(mmd2=float(observed), p=(1 + extreme) / (1 + permutations))


def gaussian_kernel(points: Float[Tensor, "all d"], bandwidth: float = 0.0) -> Kernel:
    """The kernel of every pair; a bandwidth of 0 takes the median distance between two points."""
    distance2 = torch.cdist(points, points).square()
    if bandwidth == 0:
        pairs = distance2[torch.triu(torch.ones_like(distance2, dtype=torch.bool), diagonal=1)]
        bandwidth = math.sqrt(float(pairs.median())) or 1.0  # all points equal: any will do
    return torch.exp(-distance2 / (2 * bandwidth**2))


def _mmd2(kernel: Kernel, first: Tensor) -> Float[Tensor, " labellings"]:
    """The unbiased estimate for each labelling; `first` marks the first sample, [labellings, all].

    All three sums follow from one product: what the first sample shares with each point.
    """
    mask = first.to(kernel.dtype)
    n = mask.sum(dim=1)
    m = kernel.shape[0] - n
    shared = mask @ kernel
    within = (shared * mask).sum(dim=1)
    across = shared.sum(dim=1) - within
    total = kernel.sum()
    ones = kernel.diagonal().sum() / kernel.shape[0]  # k(x, x), left out of the unbiased sums
    outside = total - within - 2 * across
    return (
        (within - n * ones) / (n * (n - 1))
        + (outside - m * ones) / (m * (m - 1))
        - 2 * across / (n * m)
    )
