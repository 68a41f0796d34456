import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness as peer

from orrery.metrics.embedding import (
    continuity,
    distance_correlation,
    neighbour_recall,
    trustworthiness,
    tsne_divergence,
)

RNG = np.random.default_rng


def pair(seed, n, d=5):
    points = RNG(seed).normal(size=(n, d))
    return points, points[:, :2] + 0.3 * RNG(seed + 1).normal(size=(n, 2))


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.integers(5, 400), st.data())
def test_trust_and_continuity_equal_scikit_learns(seed, n, data):
    points, map_ = pair(seed, n)
    k = data.draw(st.integers(1, (n - 1) // 2))
    assert trustworthiness(points, map_, k) == pytest.approx(
        peer(points, map_, n_neighbors=k), abs=1e-12
    )
    assert continuity(points, map_, k) == pytest.approx(
        peer(map_, points, n_neighbors=k), abs=1e-12
    )


def test_a_map_that_only_turns_and_scales_is_perfect():
    points, _ = pair(0, 80, 2)
    turned = 3 * points @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 7
    assert trustworthiness(points, turned) == 1
    assert continuity(points, turned) == 1
    assert neighbour_recall(points, turned) == 1
    assert distance_correlation(points, turned) == pytest.approx(1)


def test_a_map_in_random_order_is_not():
    points, _ = pair(1, 400, 2)
    shuffled = RNG(2).permutation(points)
    assert trustworthiness(points, shuffled) == pytest.approx(0.5, abs=0.05)
    assert neighbour_recall(points, shuffled, 15) == pytest.approx(15 / 399, abs=0.02)
    assert distance_correlation(points, shuffled) == pytest.approx(0, abs=0.05)


def test_recall_and_correlation_equal_naive_loops():
    points, map_ = pair(3, 60)
    true, shown = cdist(points, points), cdist(map_, map_)
    share = [
        len(set(np.argsort(a)[1:8]) & set(np.argsort(b)[1:8])) / 7
        for a, b in zip(true, shown, strict=True)
    ]
    assert neighbour_recall(points, map_, 7) == pytest.approx(np.mean(share))
    above = np.triu_indices(60, 1)
    expected = spearmanr(true[above], shown[above]).statistic
    assert distance_correlation(points, map_) == pytest.approx(expected)
    assert abs(distance_correlation(points, map_, sample=50) - expected) < 0.1


def test_divergence_equals_its_formula():
    points, map_ = pair(4, 70)
    far = squareform(pdist(points))
    similar = csr_array(np.exp(-far) * (far > 0) * (far < np.median(far)))
    similar.data /= similar.sum()
    close = 1 / (1 + cdist(map_, map_, "sqeuclidean"))
    np.fill_diagonal(close, 0)
    p, q = similar.toarray(), close / close.sum()
    there = p > 0
    expected = np.sum(p[there] * np.log(p[there] / q[there]))
    assert tsne_divergence(similar, map_) == pytest.approx(expected, rel=1e-12)


def test_scores_do_not_depend_on_the_number_of_threads():
    points, map_ = pair(5, 600)
    assert trustworthiness(points, map_, n_jobs=2) == trustworthiness(points, map_)


def test_refuses_too_many_neighbours_and_another_number_of_points():
    points, map_ = pair(6, 20)
    with pytest.raises(ValueError, match=r"k=10 must be .* below half the number of points, 10"):
        trustworthiness(points, map_, 10)
    with pytest.raises(ValueError, match="has 19 points and must have 20"):
        trustworthiness(points, map_[:19])
