import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition

from orrery.data import manifolds
from orrery.metrics.embedding import distance_correlation
from orrery.systems.manifold.pca import PCA

RNG = np.random.default_rng


def points(n=60, d=5):
    return RNG(n + d).normal(size=(n, d)) * np.arange(1, d + 1) + 3


@pytest.mark.parity
@pytest.mark.parametrize(("n", "d"), [(60, 5), (12, 7), (6, 30)])
def test_equals_scikit_learn(n, d):
    x = points(n, d)
    ours, peer = PCA(4).fit(x), decomposition.PCA(4).fit(x)
    for name in (
        "mean_", "components_", "explained_variance_", "explained_variance_ratio_",
        "singular_values_",
    ):  # fmt: skip
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.transform(x), peer.transform(x), rtol=1e-9, atol=1e-10)
    low = ours.transform(x)
    np.testing.assert_allclose(ours.inverse_transform(low), peer.inverse_transform(low), rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.data())
def test_what_is_lost_is_the_variance_left_out(n, d, data):
    x = points(n, d)
    k = data.draw(st.integers(1, min(n, d)))
    pca = PCA(k).fit(x)
    assert pca.transform(x).shape == (n, k)
    every = PCA().fit(x).explained_variance_.sum() * (n - 1) / n
    kept = pca.explained_variance_.sum() * (n - 1) / n
    assert pca.reconstruction_error(x) == pytest.approx(every - kept, abs=1e-9 * (1 + every))


def test_turning_and_moving_the_points_turns_the_directions():
    x = points()
    turn, _ = np.linalg.qr(RNG(0).normal(size=(5, 5)))
    before, after = PCA(3).fit(x), PCA(3).fit(x @ turn + 9)
    np.testing.assert_allclose(after.explained_variance_, before.explained_variance_)
    np.testing.assert_allclose(np.abs(after.components_), np.abs(before.components_ @ turn))


def test_a_batch_is_its_points_one_by_one():
    x = points()
    pca = PCA(2).fit(x)
    np.testing.assert_allclose(
        pca.transform(x), np.concatenate([pca.transform(r[None]) for r in x])
    )


def test_a_roll_stays_rolled_up():
    roll = manifolds.swiss_roll(500, RNG(1))
    flat = PCA(2).fit_transform(roll.points)
    assert distance_correlation(roll.intrinsic, flat) < 0.6
    assert distance_correlation(roll.intrinsic, PCA(2).fit_transform(roll.intrinsic)) > 0.999


@pytest.mark.parametrize("n_components", [0, 6, -1])
def test_refuses_more_directions_than_there_are(n_components):
    with pytest.raises(ValueError, match=rf"n_components={n_components} must be between 1 and .*5"):
        PCA(n_components).fit(points())
