import numpy as np
import openTSNE
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.manifold import _t_sne as sklearn_tsne

from orrery.metrics.embedding import neighbour_recall, tsne_divergence
from orrery.nn.pair_sums import pair_sums, student_pair_sums
from orrery.nn.rows import Rows
from orrery.systems.manifold.pca import PCA
from orrery.systems.manifold.tsne import TSNE, Descent, calibrated, similarities, step

RNG = np.random.default_rng
ROWS = Rows(None)
DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:400], LABELS[:400]
DIGITS = DIGITS + 0.01 * RNG(0).normal(size=DIGITS.shape)  # no two distances are equal


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000), st.integers(2, 60), st.floats(1e-6, 1e6), st.floats(0.02, 0.98))
def test_every_row_has_the_wanted_perplexity(seed, k, scale, share):
    distances = scale * np.sort(0.1 + RNG(seed).random((5, k)), axis=1)
    perplexity = k**share
    weights = calibrated(distances, perplexity)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-300)), axis=1)
    np.testing.assert_allclose(np.exp(entropy), perplexity, rtol=1e-6)
    assert (np.diff(weights, axis=1) <= 0).all()


def test_equal_distances_get_equal_weights():
    np.testing.assert_allclose(calibrated(np.ones((2, 7)), 3.0), 1 / 7)
    np.testing.assert_allclose(calibrated(np.zeros((2, 7)), 3.0), 1 / 7)


@pytest.mark.parity
def test_similarities_equal_opentsnes():
    x = DIGITS[:150]
    ours = similarities(x, 20.0)
    peer = openTSNE.affinity.PerplexityBasedNN(x, perplexity=20, method="exact", symmetrize=True)
    np.testing.assert_allclose(ours.toarray(), peer.P.toarray(), rtol=1e-5, atol=1e-12)
    assert ours.sum() == pytest.approx(1)


@pytest.mark.parametrize("freedom", [0.5, 1.0, np.inf])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_gradient_is_the_slope_of_the_divergence(freedom, axes):
    similar = similarities(DIGITS[:12], 3.0)
    descent = Descent(similar, lambda y: pair_sums(y, freedom, ROWS), freedom, ROWS)
    place = RNG(axes).normal(size=(12, axes))
    gradient = 4 * descent.gradient(place)
    for i, axis in np.ndindex(place.shape):
        shift = np.zeros(place.shape)
        shift[i, axis] = 1e-5
        rise = descent.divergence(place + shift) - descent.divergence(place - shift)
        assert gradient[i, axis] == pytest.approx(rise / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parity
def test_gradient_and_divergence_equal_scikit_learns():
    similar = similarities(DIGITS[:80], 40.0)  # all 79 others are neighbours
    place = RNG(0).normal(size=(80, 2))
    above = np.triu_indices(80, 1)
    peer, peers_gradient = sklearn_tsne._kl_divergence(
        place.ravel(), 2 * similar.toarray()[above] / 2, 1, 80, 2
    )
    descent = Descent(similar, lambda y: student_pair_sums(y, ROWS), 1.0, ROWS)
    ours = 4 * descent.gradient(place)
    np.testing.assert_allclose(ours, peers_gradient.reshape(80, 2), rtol=1e-7, atol=1e-10)
    assert tsne_divergence(similar, place) == pytest.approx(descent.divergence(place), rel=1e-12)
    assert peer == pytest.approx(descent.divergence(place), rel=1e-7)


def test_a_step_is_momentum_and_gain():
    place, velocity = np.zeros((1, 2)), np.array([[0.3, -0.2]])
    gain, gradient = np.array([[1.0, 2.0]]), np.array([[0.1, 0.4]])
    step(place, velocity, gain, gradient, 0.5, 0.8)
    np.testing.assert_allclose(gain, [[0.81, 2.2]])  # against the slope: turned, went on
    np.testing.assert_allclose(velocity, [[0.24 - 0.5 * 0.81 * 0.1, -0.16 - 0.5 * 2.2 * 0.4]])
    np.testing.assert_allclose(place, velocity)
    step(place, velocity, gain, 1e6 * gradient, 0.5, 0.8)
    assert np.linalg.norm(velocity) == pytest.approx(5)


@pytest.mark.parity
def test_the_divergence_reached_is_no_higher_than_the_peers():
    x = DIGITS[:250]
    similar = similarities(x, 30.0)
    ours = TSNE(random_state=0).fit(x)
    sklearns = sklearn_tsne.TSNE(method="exact", max_iter=500).fit_transform(x)
    opentsnes = np.asarray(openTSNE.TSNE(negative_gradient_method="bh", random_state=0).fit(x))
    reached = tsne_divergence(similar, ours.embedding_)
    assert ours.kl_divergence_ == pytest.approx(reached, rel=1e-9)
    assert reached < tsne_divergence(similar, sklearns) + 0.005
    assert reached < tsne_divergence(similar, opentsnes) + 0.005
    assert reached < tsne_divergence(similar, PCA(2).fit_transform(x)) / 2


def test_digits_are_neighbours_of_their_own_kind():
    place = TSNE(random_state=0).fit_transform(DIGITS)
    near = cdist(place, place).argsort(axis=1)[:, 1:6]
    assert (LABELS[near] == LABELS[:, None]).mean() > 0.9
    assert neighbour_recall(DIGITS, place) > 1.5 * neighbour_recall(
        DIGITS, PCA(2).fit_transform(DIGITS)
    )


def test_the_grid_reaches_what_all_pairs_reach():
    exact, grid = (TSNE(method=method).fit(DIGITS) for method in ("exact", "grid"))
    assert grid.kl_divergence_ == pytest.approx(exact.kl_divergence_, abs=0.02)


def test_the_same_seed_gives_the_same_map_on_any_number_of_threads():
    one, two, other = (
        TSNE(init="random", max_iter=120, random_state=seed, n_jobs=jobs).fit_transform(DIGITS)
        for seed, jobs in ((0, 1), (0, 2), (1, 1))
    )
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_reordering_the_points_reorders_the_map():
    order = RNG(0).permutation(400)
    similar, moved = similarities(DIGITS, 30.0), similarities(DIGITS[order], 30.0)
    np.testing.assert_allclose(moved.toarray(), similar.toarray()[order][:, order], rtol=1e-7)
    start = RNG(1).normal(size=(400, 2))
    plain = TSNE(init=start, max_iter=20).fit_transform(DIGITS)
    other = TSNE(init=start[order], max_iter=20).fit_transform(DIGITS[order])
    np.testing.assert_allclose(other, plain[order], rtol=1e-4, atol=1e-9)


def test_few_points_lower_the_perplexity():
    with pytest.warns(UserWarning, match=r"perplexity=30.0 is lowered to 6.33: there are 20"):
        assert TSNE(max_iter=5).fit_transform(DIGITS[:20]).shape == (20, 2)
    assert TSNE(3, perplexity=5.0, max_iter=5).fit_transform(DIGITS[:20]).shape == (20, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_components": 0}, "n_components=0 must be at least 1"),
        ({"perplexity": 0.5}, r"perplexity=0\.5 must be at least 1"),
        ({"freedom": 0.0}, r"freedom=0\.0 must be at least 0\.1"),
        ({"exaggeration": 0.5}, r"exaggeration=0\.5 must be at least 1"),
        ({"max_iter": 0}, "max_iter=0 must be at least 1"),
        ({"method": "tree"}, "method='tree' must be 'auto', 'exact' or 'grid'"),
        ({"method": "grid", "n_components": 3}, "method='grid' needs n_components=2, not 3"),
        ({"init": "luck"}, "init='luck' must be 'pca', 'random' or an array"),
        ({"init": np.ones((3, 2))}, r"init has shape \(3, 2\) and must have shape \(40, 2\)"),
    ],
)
def test_refuses_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        TSNE(perplexity=5.0).set_params(**wrong).fit(DIGITS[:40])
