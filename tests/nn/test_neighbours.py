import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from orrery.nn.neighbours import at_most_others, nearest_neighbours

RNG = np.random.default_rng


def naive(points, k, queries=None):
    """Sort all distances; ties by index."""
    distances = cdist(points if queries is None else queries, points)
    if queries is None:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 90), st.integers(1, 12), st.data())
def test_equals_a_full_sort(seed, n, d, data):
    points = RNG(seed).normal(size=(n, d))
    queries = data.draw(st.sampled_from([None, RNG(seed + 1).normal(size=(7, d))]))
    k = data.draw(st.integers(1, n - (queries is None)))
    near = nearest_neighbours(points, k, queries=queries)
    indices, distances = naive(points, k, queries)
    np.testing.assert_array_equal(near.indices, indices)
    np.testing.assert_allclose(near.distances, distances, rtol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e-5])
def test_rounding_in_single_precision_hides_nobody(spread):
    """Far from the origin and on a fine lattice, single precision sees nearly equal distances."""
    random = RNG(0)
    lattice = np.round(random.uniform(0, 40, size=(2_000, 3)))
    points = 1e3 * random.normal(size=3) + spread * (
        lattice + 1e-6 * random.normal(size=(2_000, 3))
    )
    near = nearest_neighbours(points, 12)
    np.testing.assert_allclose(near.distances, naive(points, 12)[1], rtol=1e-9)


def test_equal_points_are_each_others_neighbours():
    near = nearest_neighbours(np.repeat(np.eye(3), 40, axis=0), 39)
    assert (near.distances == 0).all()
    for i, row in enumerate(near.indices):
        assert set(row) == set(range(i // 40 * 40, i // 40 * 40 + 40)) - {i}
    assert near.graph(120).nnz == 120 * 39


@pytest.mark.parity
def test_equals_scikit_learn():
    points = RNG(1).normal(size=(700, 20))
    near = nearest_neighbours(points, 30)
    distances, indices = NearestNeighbors(n_neighbors=30).fit(points).kneighbors()
    np.testing.assert_array_equal(near.indices, indices)
    np.testing.assert_allclose(near.distances, distances, rtol=1e-12)


def test_does_not_depend_on_the_number_of_threads():
    points = RNG(2).normal(size=(1_500, 9))
    one, two = (nearest_neighbours(points, 10, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.distances, two.distances)


def test_refuses_more_neighbours_than_there_are():
    with pytest.raises(ValueError, match="k=3 neighbours asked of 2 points: must be 1 to 2"):
        nearest_neighbours(np.eye(3), 3)
    with pytest.raises(ValueError, match="k=0"):
        nearest_neighbours(np.eye(3), 0)
    with pytest.raises(ValueError, match="n_neighbors=0 must be at least 1"):
        at_most_others(0, 5)
    with pytest.warns(UserWarning, match="n_neighbors=7 is reduced to 4"):
        assert at_most_others(7, 5) == 4
