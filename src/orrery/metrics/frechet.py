"""Fréchet distance: how far two clouds of points are apart, each seen as a Gaussian.

Source: Dowson and Landau 1982, "The Fréchet Distance between Multivariate Normal Distributions",
Journal of Multivariate Analysis 12; on features of a network it is the FID of Heusel et al. 2017,
arXiv:1706.08500.

With few points it is too large, because their covariances are off: compare only distances of
equally many points, and give the distance of two samples of the same data beside them
(`frechet_floor`).
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Points = Float[Tensor, "n d"]
Others = Float[Tensor, "m d"]
Mean = Float[Tensor, " d"]
Covariance = Float[Tensor, "d d"]


def frechet_distance(points: Points, others: Others) -> float:
    """Of the Gaussians with the mean and covariance of each: a square, in the points' unit squared.

    Raises:
        ValueError: fewer than two points in either.
    """
    return gaussian_frechet(*moments(points), *moments(others))


def moments(points: Points) -> tuple[Mean, Covariance]:
    """Mean and unbiased covariance, in float64.

    Raises:
        ValueError: fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"points must be at least 2 for a covariance, got {len(points)}")
    wide = points.double()
    return wide.mean(dim=0), torch.cov(wide.T).reshape(wide.shape[1], wide.shape[1])


def gaussian_frechet(
    mean: Mean, covariance: Covariance, other_mean: Mean, other_covariance: Covariance
) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2); 0 for equal Gaussians."""
    root = square_root(covariance)
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (mean - other_mean).square().sum()
    total = apart + covariance.trace() + other_covariance.trace() - 2 * cross
    return max(float(total), 0.0)  # rounding may take it below


def square_root(matrix: Covariance) -> Covariance:
    """The symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet_floor(
    points: Points, others: Others, size: int, *, draws: int, rng: Generator
) -> float:
    """What `size` true points score against `others`: the mean over random draws of `points`.

    Args:
        points: true data, none of them among `others`.
        others: what distances are measured to.
        size: how many points a sample has.
        draws: how many samples.
        rng: picks them.

    Raises:
        ValueError: size is not between 2 and the number of points.
    """
    if not 2 <= size <= len(points):
        raise ValueError(f"size must be from 2 to {len(points)}, got {size}")
    target = moments(others)
    distances = [
        gaussian_frechet(
            *moments(points[torch.randperm(len(points), generator=rng)[:size]]), *target
        )
        for _ in range(draws)
    ]
    return sum(distances) / draws
