import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from orrery.systems.manifold.mds import ClassicalMDS, Scaling
from orrery.systems.manifold.pca import PCA

RNG = np.random.default_rng


def points(n=50, d=3, seed=0):
    return RNG(seed).normal(size=(n, d)) * np.arange(d, 0, -1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.integers(5, 40), st.integers(1, 4))
def test_euclidean_distances_come_back(seed, n, d):
    distances = cdist(points(n, d, seed), points(n, d, seed))
    found = ClassicalMDS(d, metric="precomputed", random_state=0).fit_transform(distances)
    assert found.shape == (n, d)
    np.testing.assert_allclose(cdist(found, found), distances, atol=1e-7)


@pytest.mark.parametrize("n", [50, 260])  # a full decomposition, and Lanczos
def test_is_pca_where_distances_are_euclidean(n):
    x = points(n)
    ours = ClassicalMDS(2, random_state=0).fit_transform(x)
    np.testing.assert_allclose(np.abs(ours), np.abs(PCA(2).fit_transform(x)), atol=1e-8)


@pytest.mark.parity
def test_equals_an_eigendecomposition_of_the_centred_matrix():
    x = points(30, 6)
    distances = np.sqrt(cdist(x, x))  # not Euclidean in six dimensions
    centre = np.eye(30) - 1 / 30
    values, vectors = np.linalg.eigh(-centre @ distances**2 @ centre / 2)
    expected = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :4]
    ours = ClassicalMDS(4, metric="precomputed", random_state=0).fit(distances)
    np.testing.assert_allclose(np.abs(ours.embedding_), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(ours.eigenvalues_, values[::-1][:4], rtol=1e-9)


def test_places_known_points_where_they_are_and_new_ones_where_they_belong():
    x, new = points(), points(7, seed=1)
    scaling = Scaling.of(cdist(x, x, "sqeuclidean"), 3, RNG(0))
    known = scaling.coordinates()
    np.testing.assert_allclose(scaling.place(cdist(x, x, "sqeuclidean")), known, atol=1e-9)
    placed = scaling.place(cdist(new, x, "sqeuclidean"))
    np.testing.assert_allclose(cdist(placed, known), cdist(new, x), atol=1e-9)


def test_no_extent_where_there_is_none():
    line = np.arange(6.0)[:, None]
    squares = cdist(line, line, "sqeuclidean")
    scaling = Scaling.of(squares, 3, RNG(0))
    np.testing.assert_allclose(scaling.coordinates()[:, 1:], 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(scaling.place(squares)[:, 0]), np.abs(line[:, 0] - 2.5))


def test_refuses_what_it_cannot_scale():
    with pytest.raises(ValueError, match="metric='city' must be 'euclidean' or 'precomputed'"):
        ClassicalMDS().set_params(metric="city").fit(points())
    with pytest.raises(ValueError, match=r"n_components=51 must be between 1 and .* 50"):
        ClassicalMDS(51).fit(points())
    with pytest.raises(ValueError, match="symmetric"):
        ClassicalMDS(metric="precomputed").fit(np.triu(np.ones((4, 4)), 1))
