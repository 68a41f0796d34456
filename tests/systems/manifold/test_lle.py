import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import LocallyLinearEmbedding as Peer

from orrery.data import manifolds
from orrery.metrics.embedding import trustworthiness
from orrery.nn.neighbours import Neighbours, nearest_neighbours
from orrery.systems.manifold.lle import LLE, misfit, mixtures

RNG = np.random.default_rng
ROLL = manifolds.swiss_roll(900, RNG(0))


@pytest.mark.parity
@pytest.mark.parametrize("n", [150, 900])  # a full decomposition, and Lanczos
def test_equals_scikit_learn(n):
    x = ROLL.points[:n]
    ours = LLE(n_neighbors=12, random_state=0).fit(x)
    peer = Peer(n_neighbors=12, eigen_solver="dense").fit(x)
    np.testing.assert_allclose(np.abs(ours.embedding_), np.abs(peer.embedding_), atol=1e-6)
    assert ours.reconstruction_error_ == pytest.approx(peer.reconstruction_error_, rel=1e-5)
    sign = np.sign((ours.embedding_ * peer.embedding_).sum(axis=0))
    new = x[:30] + 0.1
    np.testing.assert_allclose(ours.transform(new) * sign, peer.transform(new), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.integers(4, 30), st.integers(1, 6), st.floats(0.1, 10))
def test_mixtures_do_not_change_when_points_are_turned_moved_and_scaled(seed, n, d, scale):
    x = RNG(seed).normal(size=(n, d))
    near = nearest_neighbours(x, 3)
    turn, _ = np.linalg.qr(RNG(seed).normal(size=(d, d)))
    weights = mixtures(x, x, near, 1e-3)
    other = scale * x @ turn + 5
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(mixtures(other, other, near, 1e-3), weights, rtol=1e-5, atol=1e-6)


def test_a_point_between_two_others_is_their_mean():
    line = np.array([[0.0], [1.0], [3.0]])
    near = Neighbours(np.array([[0, 2]]), np.array([[1.0, 2.0]]))
    weights = mixtures(line[1:2], line, near, 1e-9)
    np.testing.assert_allclose(weights, [[2 / 3, 1 / 3]], rtol=1e-6)


def test_misfit_is_the_sum_of_squared_residuals():
    x = RNG(1).normal(size=(40, 3))
    near = nearest_neighbours(x, 5)
    weights = mixtures(x, x, near, 1e-3)
    y = RNG(2).normal(size=40)
    residual = [y[i] - weights[i] @ y[near.indices[i]] for i in range(40)]
    matrix = misfit(near.indices, weights)
    assert y @ (matrix @ y) == pytest.approx(np.square(residual).sum())
    np.testing.assert_allclose(matrix @ np.ones(40), 0, atol=1e-12)


def test_the_coordinates_are_centred_and_of_unit_covariance():
    place = LLE(n_neighbors=12, random_state=0).fit_transform(ROLL.points)
    np.testing.assert_allclose(place.sum(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(place.T @ place, np.eye(2), atol=1e-9)


def test_unrolls_the_roll():
    """Each coordinate of the sheet is nearly a function of the map: stretched, but not folded."""
    place = LLE(n_neighbors=12, random_state=0).fit_transform(ROLL.points)
    assert trustworthiness(ROLL.intrinsic, place) > 0.98
    arc = np.corrcoef(place.T, ROLL.intrinsic[:, 0])[:2, 2]
    assert np.abs(arc).max() > 0.9


def test_new_points_come_one_by_one():
    lle = LLE(n_neighbors=12, random_state=0).fit(ROLL.points)
    new = ROLL.points[:9] + 0.05
    alone = np.concatenate([lle.transform(row[None]) for row in new])
    np.testing.assert_allclose(lle.transform(new), alone, rtol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors=0 must be at least 1"),
        ({"n_components": 20}, "n_components=20 must be between 1 and 19"),
        ({"regularisation": 0.0}, r"regularisation=0\.0 must be positive"),
    ],
)
def test_refuses_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        LLE(**wrong).fit(ROLL.points[:20])
