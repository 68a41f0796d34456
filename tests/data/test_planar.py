"""The plane's generators against what their formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data import planar

CENTRES = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 4.0]])
GENERATORS = {
    "two_moons": planar.two_moons,
    "circles": planar.circles,
    "spirals": planar.spirals,
    "gaussian_mixture": lambda n, rng: planar.gaussian_mixture(n, rng, centres=CENTRES),
    "ring_of_gaussians": planar.ring_of_gaussians,
    "checkerboard": planar.checkerboard,
}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@given(count=st.integers(0, 50), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_as_many_points_as_asked_and_the_same_from_the_same_generator(make, count, seed):
    made, again = make(count, rng(seed)), make(count, rng(seed))
    assert made.points.shape == (count, 2)
    assert made.labels.shape == (count,)
    np.testing.assert_array_equal(made.points, again.points)
    np.testing.assert_array_equal(made.labels, again.labels)


def test_moons_are_half_circles():
    moons = planar.two_moons(500, rng(), noise=0.0)
    x, y = moons.points[moons.labels == 0].T
    np.testing.assert_allclose(x**2 + y**2, 1.0)
    assert y.min() >= 0
    x, y = moons.points[moons.labels == 1].T
    np.testing.assert_allclose((x - 1) ** 2 + (y - 0.5) ** 2, 1.0)
    assert y.max() <= 0.5


def test_circles_have_their_radii_and_noise_its_size():
    radii = (1.0, 0.5, 3.0)
    clean = planar.circles(300, rng(), radii=radii, noise=0.0)
    np.testing.assert_allclose(np.linalg.norm(clean.points, axis=1), np.take(radii, clean.labels))
    noisy = planar.circles(20_000, rng(), radii=radii, noise=0.1)
    off = np.linalg.norm(noisy.points, axis=1) - np.take(radii, noisy.labels)
    assert off[noisy.labels == 2].std() == pytest.approx(0.1, rel=0.05)


def test_spirals_turn_with_the_radius():
    spirals = planar.spirals(400, rng(), arms=3, turns=2.0, noise=0.0)
    radius = np.linalg.norm(spirals.points, axis=1)
    assert radius.max() <= 1.0
    angle = 2 * np.pi * (2.0 * radius + spirals.labels / 3)
    np.testing.assert_allclose(spirals.points[:, 0], radius * np.cos(angle))
    np.testing.assert_allclose(spirals.points[:, 1], radius * np.sin(angle))


def test_the_mixture_has_its_moments_and_weights():
    weights = np.array([0.5, 0.3, 0.2])
    count = 40_000
    made = planar.gaussian_mixture(count, rng(), centres=CENTRES, spread=0.7, weights=weights)
    share = np.bincount(made.labels) / count
    assert np.abs(share - weights).max() < 5 * np.sqrt(0.25 / count)
    for k, centre in enumerate(CENTRES):
        points = made.points[made.labels == k]
        assert np.abs(points.mean(0) - centre).max() < 5 * 0.7 / np.sqrt(len(points))
        np.testing.assert_allclose(np.cov(points.T), 0.49 * np.eye(2), atol=0.03)


def test_the_ring_is_evenly_spaced():
    ring = planar.ring_of_gaussians(4_000, rng(), modes=6, spread=0.0)
    centres = np.unique(ring.points.round(9), axis=0)
    assert len(centres) == 6
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 2.0)
    steps = np.linalg.norm(centres[:, None] - centres, axis=-1)
    np.testing.assert_allclose(np.sort(steps, axis=1)[:, 1], 2.0)  # a hexagon


def test_the_checkerboard_fills_black_squares_evenly():
    board = planar.checkerboard(8_000, rng(), squares=4)
    assert np.abs(board.points).max() <= 2.0
    column, row = np.floor(board.points + 2.0).astype(int).T
    np.testing.assert_array_equal(row, board.labels)
    assert not ((column - row) % 2).any()
    share = np.bincount(4 * row + column, minlength=16) / 8_000
    assert np.abs(share[share > 0] - 1 / 8).max() < 0.02


@pytest.mark.parametrize("squares", [0, 3, -2])
def test_a_board_that_cannot_be_is_refused(squares):
    with pytest.raises(ValueError, match=f"squares must be even and at least 2, got {squares}"):
        planar.checkerboard(1, rng(), squares=squares)


def test_no_arms_are_refused():
    with pytest.raises(ValueError, match="arms must be at least 1, got 0"):
        planar.spirals(1, rng(), arms=0)
