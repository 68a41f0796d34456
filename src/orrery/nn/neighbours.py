"""The k nearest neighbours of every point, exactly, by matrix products.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y, and |x|^2 does not change the order within x's row. So a block
of rows is ranked by one product, [-2 x, 1] [y, |y|^2]^T, whose last column carries |y|^2. The
product is taken in single precision, twice as fast, and a few more candidates are kept than asked
for; their distances are then computed by definition, in double. Where the rounding of single
precision could hide a nearer point behind the last candidate, the row is ranked again in double.
Below some 50,000 points neither an approximation nor an index pays.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from orrery.nn.rows import Rows
from orrery.nn.selection import smallest
from orrery.train.compiled import compiled

Points = Float[np.ndarray, "n d"]

BLOCK = 256  # rows ranked together; a product of fewer would mostly copy the other factor
SPARE = 8  # candidates kept beyond k


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Row i: who is nearest to point i, from near to far, and how far away."""

    indices: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]

    def graph(self, columns: int) -> csr_array:
        """The distances as a sparse matrix; an edge of length zero stays an edge."""
        n, k = self.indices.shape
        ends = np.arange(0, n * k + 1, k)
        return csr_array((self.distances.ravel(), self.indices.ravel(), ends), shape=(n, columns))


def at_most_others(k: int, n: int) -> int:
    """k, or with a warning n - 1 where each of n points has no more neighbours than that.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"n_neighbors={k} must be at least 1")
    if k >= n:
        warnings.warn(f"n_neighbors={k} is reduced to {n - 1}: there are {n} points", stacklevel=4)
    return min(k, n - 1)


def nearest_neighbours(
    points: Points,
    k: int,
    *,
    queries: Float[np.ndarray, "q d"] | None = None,
    n_jobs: int | None = None,
) -> Neighbours:
    """The k points nearest to each query; without queries, to each point among the others.

    Raises:
        ValueError: there are fewer than k candidates.
    """
    available = len(points) - (queries is None)
    if not 1 <= k <= available:
        raise ValueError(f"k={k} neighbours asked of {available} points: must be 1 to {available}")
    points = np.ascontiguousarray(points, dtype=np.float64)
    asked = points if queries is None else np.ascontiguousarray(queries, dtype=np.float64)
    own = np.arange(len(asked)) if queries is None else np.full(len(asked), -1)
    centre = points.mean(axis=0)  # moved and scaled, the order is the same and less cancels
    scale = np.abs(points - centre).max() * np.sqrt(points.shape[1]) or 1.0
    targets, sources = (points - centre) / scale, (asked - centre) / scale
    left = np.column_stack([-2 * sources, np.ones(len(sources))])
    right = np.vstack([targets.T, np.sum(targets**2, axis=1)])

    wanted = min(k + SPARE, available)
    who = np.empty((len(asked), wanted), dtype=np.int32)
    distances = np.empty((len(asked), wanted))
    unsure = np.zeros(len(asked), dtype=bool)
    ulp = (points.shape[1] + 4) * np.finfo(np.float32).eps / 2  # of a sum of d + 1 products
    singles = left.astype(np.float32), right.astype(np.float32)
    longest = np.sqrt(right[-1].max())

    def rank_in_single(start: int, stop: int) -> None:
        rows = slice(start, stop)
        who[rows], limit = smallest(singles[0][rows] @ singles[1], own[rows], wanted)
        measure_and_sort(asked[rows], points, who[rows], distances[rows])
        if wanted < available:
            lengths = np.linalg.norm(sources[rows], axis=1)
            last = (distances[rows, k - 1] / scale) ** 2 - lengths**2
            unsure[rows] = last > limit - ulp * (2 * lengths + longest) * longest

    def rank_in_double(start: int, stop: int) -> None:
        rows = again[start:stop]
        found, _ = smallest(left[rows] @ right, own[rows], wanted)
        far = np.empty(found.shape)
        measure_and_sort(asked[rows], points, found, far)
        who[rows], distances[rows] = found, far

    with Rows(n_jobs) as pool:
        pool.each(len(asked), BLOCK, rank_in_single)
        again = np.flatnonzero(unsure)
        pool.each(len(again), BLOCK, rank_in_double)
    return Neighbours(who[:, :k].copy(), distances[:, :k].copy())


@compiled
def measure_and_sort(
    queries: Float[np.ndarray, "q d"],
    points: Points,
    who: Int[np.ndarray, "q k"],
    distances: Float[np.ndarray, "q k"],
) -> None:
    """Fill in the true distances and put each row in order of distance, then of index."""
    for i in range(len(queries)):
        for slot in range(who.shape[1]):
            index = who[i, slot]
            total = 0.0
            for axis in range(queries.shape[1]):
                total += (queries[i, axis] - points[index, axis]) ** 2
            distance = np.sqrt(total)
            place = slot
            while place > 0 and (
                distances[i, place - 1] > distance
                or (distances[i, place - 1] == distance and who[i, place - 1] > index)
            ):
                distances[i, place] = distances[i, place - 1]
                who[i, place] = who[i, place - 1]
                place -= 1
            distances[i, place] = distance
            who[i, place] = index
