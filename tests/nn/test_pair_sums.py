import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.pair_sums import kernel, pair_sums, student_pair_sums
from orrery.nn.particle_mesh import Grid
from orrery.nn.rows import Rows

RNG = np.random.default_rng
ROWS = Rows(None)
FREEDOMS = [0.5, 1.0, 3.0, np.inf]


def potential(points, freedom):
    """Half the sum over ordered pairs, so that its gradient is that of each point's own sum."""
    squares = np.sum((points[:, None] - points) ** 2, axis=2)
    return (kernel(squares, freedom).sum() - len(points)) / 2


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_pushes_are_half_the_falling_slope_of_the_sum(freedom, d):
    points = RNG(d).normal(size=(9, d))
    pushes, total = pair_sums(points, freedom, ROWS)
    assert total == pytest.approx(2 * potential(points, freedom), rel=1e-13)
    for i, axis in np.ndindex(points.shape):
        step = np.zeros(points.shape)
        step[i, axis] = 1e-5
        rise = potential(points + step, freedom) - potential(points - step, freedom)
        assert pushes[i, axis] == pytest.approx(rise / 2e-5 / -2, rel=1e-6, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.integers(2, 300), st.floats(1e-4, 100))
def test_the_plane_has_a_fast_way(seed, n, spread):
    points = spread * RNG(seed).normal(size=(n, 2))
    pushes, total = pair_sums(points, 1.0, ROWS)
    fast, fast_total = student_pair_sums(points, ROWS)
    np.testing.assert_allclose(fast, pushes, rtol=1e-10, atol=1e-12)
    assert fast_total == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize(("spread", "error"), [(1e-4, 1e-5), (1.0, 1e-3), (15.0, 0.04)])
def test_the_grid_is_close(freedom, spread, error):
    points = spread * RNG(5).normal(size=(1_500, 2))
    pushes, total = pair_sums(points, freedom, ROWS)
    on_grid, grid_total = Grid(freedom, ROWS).pair_sums(points)
    assert np.linalg.norm(on_grid - pushes) < error * np.linalg.norm(pushes)
    assert grid_total == pytest.approx(total, rel=0.005)


def test_a_finer_grid_is_closer(monkeypatch):
    points = 15 * RNG(6).normal(size=(800, 2))
    pushes, _ = pair_sums(points, 1.0, ROWS)
    errors = []
    for spacing in (0.8, 0.4, 0.2):
        monkeypatch.setattr("orrery.nn.particle_mesh.SPACING", spacing)
        errors.append(np.linalg.norm(Grid(1.0, ROWS).pair_sums(points)[0] - pushes))
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_sums_do_not_depend_on_the_number_of_threads():
    points = 5 * RNG(7).normal(size=(700, 2))
    with Rows(2) as two:
        for one, other in (
            (student_pair_sums(points, ROWS), student_pair_sums(points, two)),
            (Grid(1.0, ROWS).pair_sums(points), Grid(1.0, two).pair_sums(points)),
        ):
            np.testing.assert_array_equal(one[0], other[0])
            assert one[1] == other[1]


def test_points_in_one_place_do_not_push():
    for pushes, total in (
        student_pair_sums(np.ones((5, 2)), ROWS),
        Grid(1.0, ROWS).pair_sums(np.ones((5, 2))),
    ):
        np.testing.assert_allclose(pushes, 0, atol=1e-6)
        assert total == pytest.approx(20)
