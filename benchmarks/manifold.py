"""Row 7: UMAP, t-SNE and Isomap against umap-learn, openTSNE and scikit-learn.

Two threads each; trustworthiness, recall of neighbours and divergence are compared first. Data:
twenty Gaussian clusters, 20,000 points in 50 dimensions; scikit-learn's digits; a Swiss roll turned
into 50 dimensions, with noise.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import openTSNE
import umap
from sklearn.datasets import load_digits, make_blobs, make_swiss_roll
from sklearn.manifold import Isomap as SklearnIsomap

from benchmarks.side_by_side import fresh, interleave, report
from orrery.metrics.embedding import neighbour_recall, trustworthiness, tsne_divergence
from orrery.systems.manifold.isomap import Isomap
from orrery.systems.manifold.tsne import TSNE, similarities
from orrery.systems.manifold.umap import UMAP

JOBS = 2
Points = np.ndarray[Any, Any]
COLD = """
from sklearn.datasets import make_blobs
x, _ = make_blobs(20_000, 50, centers=20, cluster_std=3.0, random_state=0)
from {module} import UMAP
UMAP(n_jobs={jobs}).fit(x)
"""


def main() -> bool:
    """Every part of the row."""
    blobs, _ = make_blobs(20_000, 50, centers=20, cluster_std=3.0, random_state=0)
    digits = load_digits().data
    return all([
        umap_warm(blobs), umap_cold(), tsne("7c", blobs, "fft", goal=1 / 0.6, rounds=3),
        tsne("7d", digits, "bh", goal=1 / 0.7, rounds=7), isomap(roll(5_000)),
    ])  # fmt: skip


def roll(count: int) -> Points:
    points, _ = make_swiss_roll(count, random_state=0)
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.normal(size=(50, 50)))
    return points @ axes[:3] + 0.1 * random.normal(size=(count, 50))


def umap_warm(points: Points) -> bool:
    contestants = {
        "orrery": lambda: UMAP(n_jobs=JOBS).fit_transform(points),
        "umap-learn": lambda: umap.UMAP(n_jobs=JOBS).fit_transform(points),
    }
    ours, peer = (faithful(points, draw()) for draw in contestants.values())
    assert ours["trust"] > peer["trust"] - 0.005
    assert ours["recall"] > peer["recall"] - 0.002, (ours, peer)
    timings = interleave(contestants, rounds=7, warmups=0)
    return report("7b", "UMAP 20k, warm", timings, "orrery", goal=1.0, unit="maps/s", limit=1 / 0.5)


def umap_cold() -> bool:
    """A fresh process; ours finds its compiled code on disk, umap-learn keeps none."""
    timings = interleave(
        {
            "orrery": fresh(COLD.format(module="orrery.systems.manifold.umap", jobs=JOBS)),
            "umap-learn": fresh(COLD.format(module="umap", jobs=JOBS)),
        },
        rounds=3,
    )
    return report("7a", "UMAP 20k, cold", timings, "orrery", goal=4.0, unit="maps/s")


def tsne(row: str, points: Points, peers_method: str, goal: float, rounds: int) -> bool:
    def peer() -> Points:
        made = openTSNE.TSNE(n_jobs=JOBS, negative_gradient_method=peers_method)
        return np.asarray(made.fit(points))

    contestants: dict[str, Callable[[], Points]] = {
        "orrery": lambda: TSNE(n_jobs=JOBS).fit_transform(points),
        f"openTSNE {peers_method}": peer,
    }
    similar = similarities(points, 30.0, JOBS)
    ours, theirs = (tsne_divergence(similar, draw(), JOBS) for draw in contestants.values())
    print(json.dumps({"divergence": {"orrery": ours, "openTSNE": theirs}}), flush=True)
    assert ours < theirs + 0.002, (ours, theirs)
    timings = interleave(contestants, rounds=rounds, warmups=0)
    return report(row, f"t-SNE {len(points):,}", timings, "orrery", goal=goal, unit="maps/s")


def isomap(points: Points) -> bool:
    contestants = {
        "orrery": lambda: Isomap(n_neighbors=10, n_jobs=JOBS).fit_transform(points),
        "scikit-learn": lambda: SklearnIsomap(n_neighbors=10, n_jobs=JOBS).fit_transform(points),
    }
    ours, peer = (np.abs(draw()) for draw in contestants.values())
    np.testing.assert_allclose(ours, peer, atol=1e-6 * peer.max())
    timings = interleave(contestants, rounds=7)
    return report("7d", "Isomap 5,000", timings, "orrery", goal=1 / 0.4, unit="maps/s")


def faithful(points: Points, map_: Points) -> dict[str, float]:
    map_ = np.asarray(map_, dtype=np.float64)
    found = {
        "trust": trustworthiness(points, map_, n_jobs=JOBS),
        "recall": neighbour_recall(points, map_, n_jobs=JOBS),
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
