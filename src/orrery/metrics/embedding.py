"""How faithful a map of points is to the points: neighbours kept, ranks kept, divergence.

Source: Venna and Kaski 2001, "Neighborhood preservation in nonlinear projection methods: an
experimental study", doi:10.1007/3-540-44668-0_68 (trustworthiness and continuity).
Differs from the paper: beside its two scores stand the recall of neighbours, the rank correlation
of distances, and the divergence that t-SNE descends. The surfaces with known coordinates that the
scores are meant for are in data/manifolds.py.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from orrery.catalog import System
from orrery.nn.neighbours import nearest_neighbours
from orrery.nn.pair_sums import student_pair_sums
from orrery.nn.rows import Rows
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="embedding", area="manifold", title="Scores of a map: trust, ranks, geodesics", year=2001,
    papers=("doi:10.1007/3-540-44668-0_68",), builds_on=(), realises=("swiss-roll",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Map = Float[np.ndarray, "m k"]  # of m = n points; checked by hand, with a message

BLOCK = 256  # rows of distances held at a time


def same_number(points: Points, map_: Map) -> int:
    """How many points there are, and places in the map.

    Raises:
        ValueError: the map has another number of points.
    """
    if len(map_) != len(points):
        raise ValueError(f"the map has {len(map_)} points and must have {len(points)}")
    return len(points)


def trustworthiness(points: Points, map_: Map, k: int = 12, n_jobs: int | None = None) -> float:
    """1 where every point's k nearest in the map are near it in truth; about 0.5 for any order.

    A neighbour in the map costs as many ranks as it lies beyond the k-th place in truth.

    Raises:
        ValueError: k is not between 1 and n / 2 (beyond, the measure has another scale), or the
            map has another number of points.
    """
    n = same_number(points, map_)
    if not 1 <= k < n / 2:
        raise ValueError(f"k={k} must be at least 1 and below half the number of points, {n / 2}")
    near = nearest_neighbours(map_, k, n_jobs=n_jobs).indices
    points = np.asarray(points, dtype=np.float64)
    excess = np.zeros(n)

    def count(start: int, stop: int) -> None:
        distances = cdist(points[start:stop], points)
        excess[start:stop] = ranks_beyond(distances, start, near[start:stop], k)

    with Rows(n_jobs) as rows:
        rows.each(n, BLOCK, count)
    return float(1 - 2 * excess.sum() / (n * k * (2 * n - 3 * k - 1)))


def continuity(points: Points, map_: Map, k: int = 12, n_jobs: int | None = None) -> float:
    """1 where every point's k nearest in truth are near it in the map: trust, the other way."""
    return trustworthiness(map_, points, k, n_jobs)


def neighbour_recall(points: Points, map_: Map, k: int = 15, n_jobs: int | None = None) -> float:
    """The share of every point's k nearest that are among its k nearest in the map."""
    same_number(points, map_)
    truth = nearest_neighbours(points, k, n_jobs=n_jobs).indices
    shown = nearest_neighbours(map_, k, n_jobs=n_jobs).indices
    return float(np.mean([np.isin(a, b).sum() / k for a, b in zip(truth, shown, strict=True)]))


def distance_correlation(coordinates: Points, map_: Map, sample: int = 2000) -> float:
    """Spearman's rank correlation of the distances between points, in truth and in the map.

    With the intrinsic coordinates of an unrollable surface, whose distances are those along the
    surface, it says how well the map keeps geodesics. Of more than `sample` points, evenly spaced
    ones are taken.
    """
    n = same_number(coordinates, map_)
    chosen = np.unique(np.linspace(0, n - 1, min(sample, n)).astype(int))
    above = np.triu_indices(len(chosen), 1)
    one, other = (
        rankdata(cdist(side[chosen], side[chosen])[above]) for side in (coordinates, map_)
    )
    return float(np.corrcoef(one, other)[0, 1])


def tsne_divergence(similar: csr_array, map_: Map, n_jobs: int | None = None) -> float:
    """KL(P||Q) in nats of a map in the plane, with Student's kernel over all pairs, exactly."""
    with Rows(n_jobs) as rows:
        _, total = student_pair_sums(np.ascontiguousarray(map_, dtype=np.float64), rows)
    i, p = np.repeat(np.arange(len(map_)), np.diff(similar.indptr)), similar.data
    squares = np.sum((map_[i] - map_[similar.indices]) ** 2, axis=1)
    return float(np.sum(p * (np.log(p) + np.log1p(squares))) + np.log(total))


@compiled
def ranks_beyond(
    distances: Float[np.ndarray, "b n"], start: int, near: Int[np.ndarray, "b k"], k: int
) -> Float[np.ndarray, " b"]:
    """For each row, how many ranks its neighbours lie beyond the k-th place, summed.

    The rank of a neighbour is the number of points, itself included, that are no farther.
    """
    rows, n = distances.shape
    excess = np.zeros(rows)
    for i in range(rows):
        row = distances[i]
        for neighbour in near[i]:
            limit = row[neighbour]
            closer = 0
            for j in range(n):
                closer += row[j] < limit
            itself = row[start + i] < limit  # a point is not among its own neighbours
            excess[i] += max(0, closer - itself + 1 - k)
    return excess
