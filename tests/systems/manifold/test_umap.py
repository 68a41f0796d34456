import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from orrery.data import manifolds
from orrery.metrics.embedding import neighbour_recall, trustworthiness
from orrery.nn.neighbours import nearest_neighbours
from orrery.systems.manifold.umap import (
    UMAP,
    descend,
    force_table,
    fuzzy_union,
    kernel_shape,
    laplacian_eigenvectors,
    look_up,
    memberships,
    pull,
    push,
    scheduled,
)

RNG = np.random.default_rng
DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:500], LABELS[:500]
PEER = """
import sys, numpy as np
from umap import umap_
given = np.load(sys.argv[1])
ids, distances = given["ids"], given["distances"].astype(np.float32)
graph, _, _ = umap_.fuzzy_simplicial_set(
    distances, 15, np.random.RandomState(0), "euclidean", knn_indices=ids, knn_dists=distances)
np.savez(sys.argv[2], graph=graph.toarray(), shape=umap_.find_ab_params(1.0, 0.1))
"""


@pytest.mark.parity
def test_graph_and_kernel_equal_umap_learns_given_the_same_neighbours(tmp_path):
    """The peer counts a point as its own first neighbour, in single precision, to 1e-5."""
    x = RNG(0).normal(size=(90, 4))
    near = nearest_neighbours(x, 14)
    ids = np.column_stack([np.arange(90), near.indices])
    distances = np.column_stack([np.zeros(90), near.distances])
    np.savez(tmp_path / "given.npz", ids=ids, distances=distances)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEER, tmp_path / "given.npz", tmp_path / "peer.npz"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True, capture_output=True,
    )  # fmt: skip
    peer = np.load(tmp_path / "peer.npz")
    np.testing.assert_allclose(fuzzy_union(near).toarray(), peer["graph"], atol=2e-5)
    np.testing.assert_allclose(kernel_shape(0.1), peer["shape"], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000), st.integers(3, 40), st.floats(1e-6, 1e6), st.booleans())
def test_ties_sum_to_what_is_wanted(seed, k, scale, certain):
    distances = scale * np.sort(0.1 + RNG(seed).random((6, k)), axis=1)
    ties = memberships(distances, np.log2(k + 1), certain)
    np.testing.assert_allclose(ties.sum(axis=1), np.log2(k + 1), rtol=1e-8)
    assert (np.diff(ties, axis=1) <= 0).all()
    assert not certain or (ties[:, 0] == 1).all()


def test_equal_points_are_tied_for_certain():
    ties = memberships(np.array([[0.0, 0.0, 1.0, 2.0, 3.0]]), np.log2(6), True)
    assert (ties[0, :3] == 1).all()
    np.testing.assert_array_equal(memberships(np.zeros((2, 4)), 2.0, True), 1)


def test_the_graph_is_symmetric_and_joins_as_probabilities_do():
    near = nearest_neighbours(DIGITS, 9)
    one = near.graph(500)
    one.data = memberships(near.distances, np.log2(10), True).ravel()
    one = one.toarray()
    graph = fuzzy_union(near).toarray()
    np.testing.assert_allclose(graph, 1 - (1 - one) * (1 - one.T), atol=1e-14)


def test_forces_are_the_slopes_of_the_cross_entropy():
    """pull = -d(-log w)/dy and push = -d(-log(1 - w))/dy, but for the 0.001 that bounds it."""
    a, b = kernel_shape(0.1)
    distance = np.linspace(0.3, 6, 40)

    def log_weight(d):
        return -np.log1p(a * d ** (2 * b))

    def slope(f):
        return (f(distance + 1e-5) - f(distance - 1e-5)) / 2e-5

    np.testing.assert_allclose(pull(distance**2, a, b) * distance, slope(log_weight), rtol=1e-6)
    away = slope(lambda d: np.log1p(-np.exp(log_weight(d))))
    bound = distance**2 / (0.001 + distance**2)
    np.testing.assert_allclose(push(distance**2, a, b) * distance, away * bound, rtol=1e-6)


@pytest.mark.parametrize("force", [pull, push])
def test_the_table_is_the_formula(force):
    shape = kernel_shape(0.1)
    table = force_table(force, *shape)
    squares = np.geomspace(0.01, 400, 300)
    read = np.array([look_up(table, square) for square in squares])
    np.testing.assert_allclose(read, force(squares, *shape), rtol=2e-3, atol=1e-6)


def test_an_edge_pulls_as_often_as_it_is_strong():
    heads, tails, period = scheduled(
        np.array([0, 0, 1], dtype=np.int32), np.array([1, 2, 2], dtype=np.int32),
        np.array([0.8, 0.2, 0.001]), 100,
    )  # fmt: skip
    np.testing.assert_array_equal(np.stack([heads, tails]), [[0, 0], [1, 2]])
    np.testing.assert_allclose(period, [1, 4])


def test_descent_brings_tied_points_together_and_parts_others():
    forces = [force_table(f, *kernel_shape(0.1)) for f in (pull, push)]
    heads = np.array([0, 1, 2, 3], dtype=np.int32)
    tails = np.array([1, 0, 3, 2], dtype=np.int32)
    place = RNG(0).normal(size=(4, 2))
    descend(place, place, heads, tails, np.ones(4), 300, (1.0, 1.0), *forces, 7)
    apart = cdist(place, place)
    assert max(apart[0, 1], apart[2, 3]) < 1 < apart[:2, 2:].min()


def test_slowest_waves_on_a_ring_go_round_once():
    n = 100
    angle = 2 * np.pi * np.arange(n) / n
    ring = nearest_neighbours(np.column_stack([np.cos(angle), np.sin(angle)]), 2).graph(n)
    ring.data[:] = 1
    waves = laplacian_eigenvectors(ring, 2, RNG(0))
    np.testing.assert_allclose(np.hypot(*waves.T), np.sqrt(2 / n), rtol=1e-6)


def test_digits_are_neighbours_of_their_own_kind():
    umap = UMAP(random_state=0).fit(DIGITS[:400])
    near = cdist(umap.embedding_, umap.embedding_).argsort(axis=1)[:, 1:6]
    assert (LABELS[near] == LABELS[:400][:, None])[:, :].mean() > 0.9
    new = umap.transform(DIGITS[400:])
    nearest = cdist(new, umap.embedding_).argsort(axis=1)[:, :5]
    assert (LABELS[nearest] == LABELS[400:][:, None]).mean() > 0.8


def test_descent_betters_its_start():
    roll = manifolds.swiss_roll(600, RNG(0)).points
    first, last = (
        UMAP(init="pca", n_epochs=n, random_state=0).fit_transform(roll) for n in (1, 300)
    )
    assert neighbour_recall(roll, last) > 1.3 * neighbour_recall(roll, first)
    assert trustworthiness(roll, last) > 0.98 > trustworthiness(roll, first)


def test_points_are_added_one_by_one_and_known_ones_keep_their_place():
    umap = UMAP(random_state=0, n_epochs=60).fit(DIGITS[:200])
    before = umap.embedding_.copy()
    np.testing.assert_array_equal(umap.transform(DIGITS[:50]), before[:50])
    alone = np.concatenate([umap.transform(row[None]) for row in DIGITS[200:210]])
    np.testing.assert_allclose(umap.transform(DIGITS[200:210]), alone, rtol=1e-12)
    np.testing.assert_array_equal(umap.embedding_, before)


@pytest.mark.parametrize("init", ["spectral", "pca", "random"])
@pytest.mark.parametrize("axes", [1, 2, 5])
def test_any_dimension_and_start_and_the_same_seed_gives_the_same_map(init, axes):
    one, two = (
        UMAP(axes, init=init, n_epochs=10, random_state=0, n_jobs=jobs).fit_transform(DIGITS[:60])
        for jobs in (1, 2)
    )
    assert one.shape == (60, axes)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_components": 0}, "n_components=0 must be at least 1"),
        ({"n_neighbors": 1}, "n_neighbors=1 must be at least 2"),
        ({"min_dist": -0.1}, r"min_dist=-0\.1 must be between 0 and 1"),
        ({"n_epochs": 0}, "n_epochs=0 must be at least 1, or None"),
        ({"init": "luck"}, "init='luck' must be 'spectral', 'pca', 'random' or an array"),
        ({"init": np.ones((3, 2))}, r"init has shape \(3, 2\) and must have shape \(40, 2\)"),
    ],
)
def test_refuses_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        UMAP(n_neighbors=5).set_params(**wrong).fit(DIGITS[:40])


def test_few_points_lower_the_number_of_neighbours():
    with pytest.warns(UserWarning, match="n_neighbors=15 is lowered to 6"):
        assert UMAP(n_epochs=5).fit_transform(DIGITS[:6]).shape == (6, 2)
