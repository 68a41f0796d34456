import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.metrics.frechet import (
    frechet_distance,
    frechet_floor,
    gaussian_frechet,
    moments,
    square_root,
)

DOUBLE = torch.float64


def random_gaussian(size, seed):
    rng = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, size, dtype=DOUBLE, generator=rng)
    return torch.randn(size, dtype=DOUBLE, generator=rng), factor @ factor.T


def test_a_cloud_needs_two_points():
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="size must be from 2 to 5"):
        frechet_floor(torch.zeros(5, 2), torch.zeros(9, 2), 6, draws=1, rng=torch.Generator())


@settings(max_examples=25)
@given(size=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_it_is_a_squared_metric(size, seed):
    a, b, c = (random_gaussian(size, seed + i) for i in range(3))
    ab, bc, ac = (gaussian_frechet(*p, *q) for p, q in ((a, b), (b, c), (a, c)))
    assert gaussian_frechet(*a, *a) < 1e-6 * float(a[1].trace())
    assert ab == pytest.approx(gaussian_frechet(*b, *a), rel=1e-6)
    assert ac**0.5 <= ab**0.5 + bc**0.5 + 1e-6


def test_independent_coordinates_add_up():
    # for one coordinate: (difference of means)^2 + (difference of deviations)^2
    means, deviations = torch.randn(2, 5, dtype=DOUBLE), torch.rand(2, 5, dtype=DOUBLE)
    ours = gaussian_frechet(
        means[0], torch.diag(deviations[0] ** 2), means[1], torch.diag(deviations[1] ** 2)
    )
    expected = (means[0] - means[1]).square() + (deviations[0] - deviations[1]).square()
    assert ours == pytest.approx(float(expected.sum()), rel=1e-12)


def test_moving_and_turning_both_clouds_changes_nothing():
    points, others = torch.randn(50, 3, dtype=DOUBLE), 2 * torch.randn(60, 3, dtype=DOUBLE) + 1
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE)).Q
    moved = frechet_distance(points @ turn + 5, others @ turn + 5)
    assert moved == pytest.approx(frechet_distance(points, others), rel=1e-9)
    assert frechet_distance(3 * points, 3 * others) == pytest.approx(
        9 * frechet_distance(points, others)
    )


def test_moments_are_numpys():
    points = torch.randn(20, 4)
    mean, covariance = moments(points)
    np.testing.assert_allclose(mean.numpy(), points.double().numpy().mean(axis=0))
    np.testing.assert_allclose(covariance.numpy(), np.cov(points.double().numpy().T))
    assert moments(torch.randn(20, 1))[1].shape == (1, 1)


def test_few_points_score_too_high_and_many_do_not():
    rng = torch.Generator().manual_seed(0)
    points, others = (torch.randn(20_000, 8, dtype=DOUBLE, generator=rng) for _ in range(2))
    floors = [frechet_floor(points, others, n, draws=5, rng=rng) for n in (50, 500, 5000)]
    assert floors[0] > 5 * floors[1] > 25 * floors[2]  # the bias falls like 1 / n
    assert floors[2] < 0.02


@pytest.mark.parity
@pytest.mark.parametrize("size", [1, 4, 20])
def test_same_as_the_formula_with_scipys_root(size):
    (mean, cov), (other, other_cov) = random_gaussian(size, 1), random_gaussian(size, 2)
    root = scipy.linalg.sqrtm(cov.numpy())
    torch.testing.assert_close(square_root(cov), torch.from_numpy(root), rtol=1e-6, atol=1e-6)
    cross = scipy.linalg.sqrtm((cov @ other_cov).numpy())
    expected = (mean - other).square().sum() + (cov + other_cov).trace() - 2 * np.trace(cross).real
    ours = gaussian_frechet(mean, cov, other, other_cov)
    assert ours == pytest.approx(float(expected), rel=1e-7)
