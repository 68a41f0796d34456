import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist
from sklearn.manifold import Isomap as Peer

from orrery.data import manifolds
from orrery.metrics.embedding import distance_correlation
from orrery.systems.manifold.isomap import Isomap, geodesics, neighbourhood_graph
from orrery.systems.manifold.pca import PCA

RNG = np.random.default_rng
ROLL = manifolds.swiss_roll(800, RNG(0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000), st.integers(2, 150), st.floats(0.02, 0.5))
def test_geodesics_are_dijkstras(seed, n, density):
    """On any graph, in pieces or not, from any nodes; to the last bit."""
    random = RNG(seed)
    lengths = np.where(random.random((n, n)) < density, random.random((n, n)), 0)
    graph = csr_array(np.maximum(lengths, lengths.T))
    sources = random.permutation(n)[: random.integers(1, n + 1)]
    reached = geodesics(graph, sources)
    np.testing.assert_array_equal(reached, dijkstra(graph, directed=False, indices=sources))


def test_geodesics_are_floyds():
    graph = neighbourhood_graph(ROLL.points[:80], 6)
    paths = np.where(graph.toarray() > 0, graph.toarray(), np.inf)
    np.fill_diagonal(paths, 0)
    for k in range(80):
        paths = np.minimum(paths, paths[:, [k]] + paths[[k]])
    np.testing.assert_allclose(geodesics(graph, np.arange(80)), paths, rtol=1e-12)


@pytest.mark.parity
def test_equals_scikit_learn():
    ours = Isomap(3, n_neighbors=10, random_state=0).fit(ROLL.points)
    peer = Peer(n_neighbors=10, n_components=3).fit(ROLL.points)
    np.testing.assert_allclose(ours.dist_matrix_, peer.dist_matrix_, rtol=1e-12)
    np.testing.assert_allclose(np.abs(ours.embedding_), np.abs(peer.embedding_), atol=1e-7)
    new = ROLL.points[:40] + 0.1
    placed, peers = ours.transform(new), peer.transform(new)
    np.testing.assert_allclose(np.abs(placed), np.abs(peers), atol=1e-7)


@pytest.mark.parity
def test_pieces_are_joined_as_scikit_learn_joins_them():
    pieces = np.concatenate([RNG(k).normal(size=(25, 3)) + 30 * k for k in range(3)])
    with pytest.warns(UserWarning, match="falls into 3 pieces"):
        ours = Isomap(n_neighbors=4, random_state=0).fit(pieces)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer has two kinds of its own
        peer = Peer(n_neighbors=4).fit(pieces)
    np.testing.assert_allclose(ours.dist_matrix_, peer.dist_matrix_, rtol=1e-12)


def test_unrolls_the_roll():
    unrolled = Isomap(n_neighbors=10, random_state=0).fit_transform(ROLL.points)
    assert distance_correlation(ROLL.intrinsic, unrolled) > 0.99


def test_too_many_neighbours_short_circuit_the_roll():
    shorted = Isomap(n_neighbors=150, random_state=0).fit_transform(ROLL.points)
    assert distance_correlation(ROLL.intrinsic, shorted) < 0.7


def test_all_points_as_landmarks_change_nothing_and_few_change_little():
    every, few = (
        Isomap(n_neighbors=10, landmarks=m, random_state=0).fit(ROLL.points) for m in (800, 60)
    )
    plain = Isomap(n_neighbors=10, random_state=0).fit(ROLL.points)
    np.testing.assert_allclose(every.embedding_, plain.embedding_, atol=1e-7)
    assert few.dist_matrix_.shape == (60, 800)
    assert distance_correlation(ROLL.intrinsic, few.embedding_) > 0.98
    np.testing.assert_allclose(few.transform(ROLL.points), few.embedding_, atol=1e-9)


def test_known_points_keep_their_place_and_points_come_one_by_one():
    isomap = Isomap(n_neighbors=10, random_state=0).fit(ROLL.points)
    np.testing.assert_allclose(isomap.transform(ROLL.points), isomap.embedding_, atol=1e-7)
    new = ROLL.points[:9] + 0.05
    alone = np.concatenate([isomap.transform(row[None]) for row in new])
    np.testing.assert_allclose(isomap.transform(new), alone, atol=1e-9)


def test_equal_points_lie_together():
    twice = np.concatenate([ROLL.points[:100], ROLL.points[:5]])
    place = Isomap(n_neighbors=6, random_state=0).fit_transform(twice)
    np.testing.assert_allclose(place[:5], place[100:], atol=1e-6)


def test_turning_moving_and_reordering_the_points_changes_no_distance_in_the_map():
    turn, _ = np.linalg.qr(RNG(1).normal(size=(3, 3)))
    order = RNG(2).permutation(800)
    plain = Isomap(n_neighbors=10, random_state=0).fit_transform(ROLL.points)
    moved = Isomap(n_neighbors=10, random_state=1).fit_transform(ROLL.points[order] @ turn + 4)
    np.testing.assert_allclose(cdist(moved, moved), cdist(plain, plain)[order][:, order], atol=1e-6)


def test_straight_distances_leave_pca():
    straight = Isomap(metric="euclidean", random_state=0).fit(ROLL.points)
    pca = PCA(2).fit_transform(ROLL.points)
    np.testing.assert_allclose(np.abs(straight.embedding_), np.abs(pca), atol=1e-7)
    np.testing.assert_allclose(straight.transform(ROLL.points), straight.embedding_, atol=1e-7)


def test_does_not_depend_on_the_number_of_threads():
    one, two = (
        Isomap(n_neighbors=10, random_state=3, n_jobs=jobs).fit(ROLL.points) for jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.embedding_, two.embedding_)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors=0 must be at least 1"),
        ({"n_components": 0}, "n_components=0 must be between 1 and the 20"),
        ({"landmarks": 1}, "n_components=2 must be between 1 and the 1 points or landmarks"),
        ({"metric": "air"}, "metric='air' must be 'geodesic' or 'euclidean'"),
    ],
)
def test_refuses_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Isomap().set_params(**wrong).fit(ROLL.points[:20])
