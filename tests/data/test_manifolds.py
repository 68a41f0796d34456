"""The surfaces: on the formula, even in area, and flat where they say so."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist
from scipy.stats import kstest
from sklearn.datasets import make_s_curve, make_swiss_roll

from orrery.data import manifolds

SURFACES = [
    manifolds.swiss_roll,
    manifolds.swiss_hole,
    manifolds.s_curve,
    manifolds.severed_sphere,
]
FLAT = SURFACES[:3]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("make", SURFACES)
def test_same_generator_same_points(make):
    for count in (0, 1, 37):
        made, again = make(count, rng(count)), make(count, rng(count))
        assert made.points.shape == (count, 3)
        assert made.intrinsic.shape == (count, 2)
        np.testing.assert_array_equal(made.points, again.points)


@pytest.mark.parametrize("make", SURFACES)
def test_noise_moves_points_by_its_size_and_no_coordinate(make):
    clean, noisy = make(5_000, rng()), make(5_000, rng(), noise=0.3)
    np.testing.assert_array_equal(clean.intrinsic, noisy.intrinsic)
    assert (noisy.points - clean.points).std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("make", FLAT)
def test_flat_coordinates_are_isometric(make):
    """No chord is longer than the way along the surface, and short ones are as long."""
    surface = make(3_000, rng())
    assert surface.flat
    chords, ways = pdist(surface.points[:400]), pdist(surface.intrinsic[:400])
    assert (chords <= ways * (1 + 1e-9)).all()
    assert chords.max() < 0.5 * ways.max()  # it is bent
    way, neighbour = cKDTree(surface.intrinsic).query(surface.intrinsic, k=[2])
    chord = np.linalg.norm(surface.points - surface.points[neighbour[:, 0]], axis=1)
    np.testing.assert_allclose(chord, way[:, 0], rtol=2e-3)


def test_the_sphere_is_not_flat():
    sphere = manifolds.severed_sphere(2_000, rng())
    assert not sphere.flat
    longitude, colatitude = sphere.intrinsic.T
    x, y, z = sphere.points.T
    np.testing.assert_allclose(np.linalg.norm(sphere.points, axis=1), 1.0)
    np.testing.assert_allclose(np.arctan2(y, x) % (2 * np.pi), longitude)
    np.testing.assert_allclose(np.arccos(z), colatitude)
    assert longitude.max() < 2 * np.pi - 0.55
    assert np.pi / 8 < colatitude.min() < colatitude.max() < 7 / 8 * np.pi
    rim = np.cos(np.pi / 8)
    assert kstest(z, "uniform", (-rim, 2 * rim)).pvalue > 0.01  # even in area


@pytest.mark.parity
def test_roll_and_s_are_scikit_learns_surfaces():
    points, angle = make_swiss_roll(500, random_state=0)
    sheet = np.stack([manifolds.roll_length(angle), points[:, 1]], axis=1)
    np.testing.assert_allclose(manifolds._roll(sheet), points, atol=1e-11)
    ours = manifolds.s_curve(500, rng())
    points, arc = make_s_curve(500, random_state=0)
    np.testing.assert_allclose(points[:, 0], np.sin(arc))
    np.testing.assert_allclose(ours.points[:, 0], np.sin(ours.intrinsic[:, 0]))
    for p, t in ((points, arc), (ours.points, ours.intrinsic[:, 0])):
        np.testing.assert_allclose(p[:, 2], np.sign(t) * (np.cos(t) - 1))


def test_roll_length_is_the_integral_of_the_speed():
    angles = np.array([0.5, 4.7, 14.1])
    by_quadrature = [quad(lambda t: np.sqrt(1 + t * t), 0, angle)[0] for angle in angles]
    np.testing.assert_allclose(manifolds.roll_length(angles), by_quadrature, rtol=1e-10)


def test_the_roll_is_even_over_its_sheet():
    roll = manifolds.swiss_roll(3_000, rng())
    radius = np.hypot(roll.points[:, 0], roll.points[:, 2])
    first, last = manifolds.roll_length(np.array([manifolds.ROLL_INNER, manifolds.ROLL_OUTER]))
    assert kstest(manifolds.roll_length(radius), "uniform", (first, last - first)).pvalue > 0.01
    assert kstest(roll.points[:, 1], "uniform", (0, manifolds.ROLL_HEIGHT)).pvalue > 0.01


def test_the_hole_is_the_middle_ninth():
    hole = manifolds.swiss_hole(9_000, rng())
    low, high = hole.intrinsic.min(0), hole.intrinsic.max(0)
    cell = np.minimum(3 * (hole.intrinsic - low) / (high - low), 2.999).astype(int)
    counts = np.bincount(3 * cell[:, 0] + cell[:, 1], minlength=9)
    assert counts[4] <= 5  # the corners of the sheet are not quite met
    assert np.abs(np.delete(counts, 4) / 9_000 - 1 / 8).max() < 0.02
