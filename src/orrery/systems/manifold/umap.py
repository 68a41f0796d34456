"""UMAP: lay out the graph of fuzzy neighbourhoods so that its edges are short.

Source: McInnes, Healy and Melville 2018, "UMAP: Uniform Manifold Approximation and Projection for
Dimension Reduction", arXiv:1802.03426; algorithm numbers are the paper's.
Differs from the paper: neighbours are found exactly, not by descent; the points drawn at random
for one edge all push from where the pull has left it, not each from where the last push has, so
that their pushes are computed side by side; both forces are read from tables; a graph in several
pieces starts from principal components.

1. Point i is tied to its k nearest by exp(-max(0, d - rho_i) / sigma_i): rho_i is the distance of
the nearest, sigma_i makes the ties sum to log2 k. 2. Ties of the two directions join as
probabilities do, a + b - a b. 3. In the map a pair at distance d is joined with weight
w = 1 / (1 + a d^2b), which is near 1 up to min_dist. Stochastic descent on the cross-entropy of the
two graphs: an edge pulls its ends together as often as it is strong, and each time a few points
drawn at random push one end away.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import curve_fit
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from orrery.catalog import System
from orrery.nn.embedder import Embedder
from orrery.nn.neighbours import Neighbours, nearest_neighbours
from orrery.nn.random import RandomState, generator
from orrery.nn.spectral import top_eigenvectors
from orrery.systems.manifold.pca import PCA
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="umap", area="manifold", title="UMAP", year=2018,
    papers=("arXiv:1802.03426",), builds_on=("pca",), realises=("umap",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Map = Float[np.ndarray, "n k"]

NEGATIVES = 5  # points that push for every pull
EXTENT = 10.0  # of the first map along each axis, in units of the kernel's width
CLIP = 4.0  # the largest push or pull along an axis
TABLE = 4096  # entries of a force table


class UMAP(Embedder):
    """A map of the points in which neighbours stay together; new points can be added to it.

    Args:
        n_components: dimension of the map.
        n_neighbors: size of a neighbourhood, the point itself included; lowered, with a warning,
            where there are not as many points.
        min_dist: below this distance points of the map are as near as can be.
        n_epochs: passes over the edges; None: 200 above 10,000 points, else 500.
        init: "spectral", "pca", "random", or the positions themselves.
        random_state: seeds start and descent.
        n_jobs: threads of the neighbour search; -1 for all cores. The descent takes one.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        n_neighbors: int = 15,
        min_dist: float = 0.1,
        n_epochs: int | None = None,
        init: Literal["spectral", "pca", "random"] | Map = "spectral",
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.n_epochs = n_epochs
        self.init = init
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Points, y: object = None) -> "UMAP":
        """Draw the map.

        Raises:
            ValueError: a setting outside its range; the message names it.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self._check()
        n = len(X)
        self.n_neighbors_ = min(self.n_neighbors, n)
        if self.n_neighbors_ < self.n_neighbors:
            message = f"n_neighbors={self.n_neighbors} is lowered to {n}"
            warnings.warn(f"{message}: there are no more points", stacklevel=2)
        random = generator(self.random_state)
        self.points_ = X
        near = nearest_neighbours(X, self.n_neighbors_ - 1, n_jobs=self.n_jobs)
        self.graph_ = fuzzy_union(near)
        self.epochs_ = self.n_epochs or (200 if n > 10_000 else 500)
        shape = kernel_shape(self.min_dist)
        self.forces_ = force_table(pull, *shape), force_table(push, *shape)
        place = start(self.graph_, X, self.init, self.n_components, random)
        heads = np.repeat(np.arange(n, dtype=np.int32), np.diff(self.graph_.indptr))
        edges = scheduled(heads, self.graph_.indices, self.graph_.data, self.epochs_)
        seed = int(random.integers(2**62))
        descend(place, place, *edges, self.epochs_, (1.0, 1.0), *self.forces_, seed)
        self.embedding_ = place
        return self

    def transform(self, X: Points) -> Map:
        """Add points to the map, each by itself: the map stays as it is.

        A point begins at the mean of its neighbours' places, weighted by its ties to them, and
        descends; a point that the map already has keeps its place.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        k = min(self.n_neighbors_, len(self.points_))
        near = nearest_neighbours(self.points_, k, queries=X, n_jobs=self.n_jobs)
        ties = memberships(near.distances, np.log2(k), False)
        shares = ties / ties.sum(axis=1, keepdims=True)
        place = np.einsum("nk,nkd->nd", shares, self.embedding_[near.indices])
        epochs = max(1, self.epochs_ // 3)
        seed = int(generator(self.random_state).integers(2**62))
        alone = np.zeros(k, dtype=np.int32)
        for row in range(len(X)):
            tails = near.indices[row]
            if near.distances[row, 0] == 0:
                place[row] = self.embedding_[tails[0]]
                continue
            edges = scheduled(alone, tails, ties[row], epochs)
            here = place[row : row + 1]
            descend(here, self.embedding_, *edges, epochs, (0.25, 0.0), *self.forces_, seed)
        return place

    def _check(self) -> None:
        if self.n_components < 1:
            raise ValueError(f"n_components={self.n_components} must be at least 1")
        if self.n_neighbors < 2:
            raise ValueError(f"n_neighbors={self.n_neighbors} must be at least 2")
        if not 0 <= self.min_dist <= 1:
            raise ValueError(f"min_dist={self.min_dist} must be between 0 and 1")
        if self.n_epochs is not None and self.n_epochs < 1:
            raise ValueError(f"n_epochs={self.n_epochs} must be at least 1, or None")


def fuzzy_union(near: Neighbours) -> csr_array:
    """The symmetric graph of neighbourhoods (algorithms 2 and 3)."""
    n, k = near.indices.shape
    ties = near.graph(n)
    ties.data = memberships(near.distances, np.log2(k + 1), True).ravel()
    ties.eliminate_zeros()
    both = ties.multiply(ties.T)
    return csr_array(ties + ties.T - both)


@compiled
def memberships(
    distances: Float[np.ndarray, "n k"], wanted: float, certain: bool
) -> Float[np.ndarray, "n k"]:
    """exp(-max(0, d - rho) / sigma), with sigma such that a row sums to `wanted`.

    rho is the nearest distance above zero where the nearest is `certain` to be tied, else 0.
    The sum grows with sigma: Newton's method on its logarithm, kept between the last sigma that was
    too small and the last that was too large. A thousandth of the mean distance is the least.
    """
    n, k = distances.shape
    weights = np.empty((n, k))
    overall = distances.sum() / (n * (k + 1))
    for i in range(n):
        rho = 0.0
        if certain:
            for j in range(k - 1, -1, -1):
                rho = distances[i, j] if distances[i, j] > 0.0 else rho
        beyond = np.maximum(distances[i] - rho, 0.0)
        least = 1e-3 * (distances[i].sum() / (k + 1) if rho > 0.0 else overall) + 1e-300
        log_sigma, low, high = np.log(beyond.mean() + least), np.log(least), np.inf
        for _ in range(100):
            sigma = np.exp(log_sigma)
            total, slope = 0.0, 0.0
            for j in range(k):
                weight = np.exp(-beyond[j] / sigma)
                weights[i, j] = weight
                total += weight
                slope += weight * beyond[j] / sigma
            if abs(total - wanted) < 1e-9 or high - low < 1e-12:
                break
            low, high = (log_sigma, high) if total < wanted else (low, log_sigma)
            log_sigma += (wanted - total) / slope
            if not low < log_sigma < high:  # also where the slope was zero
                log_sigma = low / 2 + min(high, low + 2) / 2
    return weights


def kernel_shape(min_dist: float) -> tuple[float, float]:
    """The a and b that bring 1 / (1 + a d^2b) nearest to exp(-max(0, d - min_dist))."""
    d = np.linspace(0, 3, 300)
    wanted = np.exp(-np.maximum(d - min_dist, 0))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, wanted)
    return float(a), float(b)


def pull(square: Float[np.ndarray, " s"], a: float, b: float) -> Float[np.ndarray, " s"]:
    """What (y_i - y_j) is multiplied by to get y_i's move along an edge, by squared distance."""
    power = square**b
    return -2 * a * b * power / (square * (1 + a * power))


def push(square: Float[np.ndarray, " s"], a: float, b: float) -> Float[np.ndarray, " s"]:
    """The same for a point drawn at random."""
    return 2 * b / ((0.001 + square) * (1 + a * square**b))


def force_table(
    force: Callable[[Float[np.ndarray, " s"], float, float], Float[np.ndarray, " s"]],
    a: float,
    b: float,
) -> Float[np.ndarray, " t"]:
    """The force at squared distances q, at even steps of q / (1 + q), which lies in [0, 1).

    Reading between the steps costs a division, where the formula costs a power: four times as much.
    """
    share = np.arange(1, TABLE) / TABLE
    inner = force(share / (1 - share), a, b)
    return np.concatenate([force(np.array([0.25 / TABLE]), a, b), inner, [0, 0]])


@compiled
def look_up(table: Float[np.ndarray, " t"], square: float) -> float:
    """The force at this squared distance, linear between the table's steps."""
    position = square / (1.0 + square) * TABLE
    step = int(position)
    return table[step] + (position - step) * (table[step + 1] - table[step])


def start(
    graph: csr_array,
    points: Points,
    init: str | Float[np.ndarray, "m c"],
    k: int,
    random: np.random.Generator,
) -> Map:
    """The first map: EXTENT wide along each axis, with a trace of noise to part equal points.

    Raises:
        ValueError: an init that is unknown or has the wrong shape.
    """
    n = len(points)
    if not isinstance(init, str):
        place = check_array(init, dtype=np.float64, copy=True)
        if place.shape != (n, k):
            raise ValueError(f"init has shape {place.shape} and must have shape {(n, k)}")
        return place
    if init not in ("spectral", "pca", "random"):
        raise ValueError(f"init={init!r} must be 'spectral', 'pca', 'random' or an array")
    place = np.zeros((n, k))
    if init == "random" or n <= k + 1:
        place = random.uniform(size=(n, k))
    elif init == "spectral" and connected_components(graph, directed=False)[0] == 1:
        place = laplacian_eigenvectors(graph, k, random)
    else:
        axes = min(k, *points.shape)
        place[:, :axes] = PCA(axes).fit_transform(points)
    place -= place.min(axis=0)
    extent = place.max(axis=0)
    place *= EXTENT / np.where(extent > 0, extent, 1)
    return place + random.normal(scale=1e-4, size=(n, k))


def laplacian_eigenvectors(graph: csr_array, k: int, random: np.random.Generator) -> Map:
    """The slowest waves on the graph, but the constant one (algorithm 4).

    The bottom eigenvectors of I - D^-1/2 A D^-1/2 are the top ones of D^-1/2 A D^-1/2 + I, where
    the added I keeps alternating waves, with eigenvalues near -1, out of the way.
    """
    root = 1 / np.sqrt(np.asarray(graph.sum(axis=1)))
    even = diags_array(root) @ graph @ diags_array(root)
    _, vectors = top_eigenvectors(lambda v: even @ v + v, len(root), k + 1, random, tolerance=1e-4)
    return vectors[:, 1:]


def scheduled(
    heads: Int[np.ndarray, " e"],
    tails: Int[np.ndarray, " e"],
    ties: Float[np.ndarray, " e"],
    epochs: int,
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Head, tail and period, in epochs, of every edge strong enough to pull even once."""
    kept = ties >= ties.max() / epochs
    return heads[kept], tails[kept], ties.max() / ties[kept]


@compiled
def descend(  # noqa: PLR0913  compiled code takes arrays, not objects
    place: Map,
    others: Map,
    heads: Int[np.ndarray, " e"],
    tails: Int[np.ndarray, " e"],
    period: Float[np.ndarray, " e"],
    epochs: int,
    rates: tuple[float, float],
    pulls: Float[np.ndarray, " t"],
    pushes: Float[np.ndarray, " t"],
    seed: int,
) -> None:
    """Stochastic descent (algorithm 5): the heads of edges lie in `place`, the tails in `others`.

    Both may be the same map. The rates of heads and of tails fall linearly to zero.
    """
    random, count = np.uint64(seed), np.uint64(len(others))
    axes = place.shape[1]
    drawn, force = np.empty(NEGATIVES, dtype=np.int64), np.empty(NEGATIVES)
    due = period.copy()
    for epoch in range(epochs):
        left = 1.0 - epoch / epochs
        for edge in range(len(heads)):
            if due[edge] > epoch:
                continue
            due[edge] += period[edge]
            head, tail = heads[edge], tails[edge]
            square = 0.0
            for axis in range(axes):
                square += (place[head, axis] - others[tail, axis]) ** 2
            closer = look_up(pulls, square)
            for axis in range(axes):
                move = closer * (place[head, axis] - others[tail, axis])
                move = left * min(max(move, -CLIP), CLIP)
                place[head, axis] += rates[0] * move
                others[tail, axis] -= rates[1] * move
            for k in range(NEGATIVES):
                random = random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                other = np.int64(((random >> np.uint64(32)) * count) >> np.uint64(32))
                square = 0.0
                for axis in range(axes):
                    square += (place[head, axis] - others[other, axis]) ** 2
                drawn[k], force[k] = other, look_up(pushes, square)
            for axis in range(axes):
                move = 0.0
                for k in range(NEGATIVES):
                    along = force[k] * (place[head, axis] - others[drawn[k], axis])
                    move += min(max(along, -CLIP), CLIP)
                place[head, axis] += rates[0] * left * move
