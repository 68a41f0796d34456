"""Isomap: unroll a manifold by measuring distances along it.

Source: Tenenbaum, de Silva and Langford 2000, "A global geometric framework for nonlinear
dimensionality reduction", Science 290:2319-2323, doi:10.1126/science.290.5500.2319; landmarks:
de Silva and Tenenbaum 2003, "Global versus local methods in nonlinear dimensionality reduction",
NIPS 15; new points: Bengio et al. 2003, "Out-of-sample extensions for LLE, Isomap, MDS,
Eigenmaps, and spectral clustering", NIPS 16.
Differs from the papers: a neighbourhood graph that falls apart is joined at the nearest pair of
points of every two pieces, with a warning, in place of embedding the largest piece alone.

1. Join every point to its k nearest. 2. The shortest path through that graph approximates the
distance along the manifold. 3. Find coordinates that have those distances (classical scaling).
"""

import warnings
from heapq import heappop, heappush
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.utils.validation import check_is_fitted, validate_data

from orrery.catalog import System
from orrery.nn.embedder import Embedder
from orrery.nn.neighbours import at_most_others, nearest_neighbours
from orrery.nn.random import RandomState, generator
from orrery.nn.rows import Rows
from orrery.systems.manifold.mds import Scaling
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="isomap", area="manifold", title="Isomap", year=2000,
    papers=("doi:10.1126/science.290.5500.2319",), builds_on=("mds",), realises=("isomap",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Coordinates = Float[np.ndarray, "n k"]

LANES = 64  # sources whose paths are found together; compilers make vectors of so many


class Isomap(Embedder):
    """Coordinates that keep distances along the manifold.

    Args:
        n_components: dimension of the coordinates.
        n_neighbors: how many nearest points each point is joined to; fewer, with a warning, where
            there are not as many.
        landmarks: how many points, drawn at random, paths start from; None: all of them.
        metric: "geodesic": along the graph; "euclidean": straight through space, which leaves
            principal component analysis.
        random_state: draws the landmarks and starts the eigenvector iteration.
        n_jobs: threads; -1 for all cores.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        n_neighbors: int = 5,
        landmarks: int | None = None,
        metric: Literal["geodesic", "euclidean"] = "geodesic",
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.landmarks = landmarks
        self.metric = metric
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Points, y: object = None) -> "Isomap":
        """Find coordinates of the points.

        Raises:
            ValueError: n_neighbors or n_components below 1, an unknown metric, or fewer landmarks
                than coordinates.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        random = generator(self.random_state)
        n = len(X)
        if self.metric not in ("geodesic", "euclidean"):
            raise ValueError(f"metric={self.metric!r} must be 'geodesic' or 'euclidean'")
        count = n if self.landmarks is None else min(self.landmarks, n)
        if not 1 <= self.n_components <= count:
            raise ValueError(
                f"n_components={self.n_components} must be between 1 and the {count} points or"
                " landmarks that paths start from"
            )
        self.points_ = X
        self.landmarks_ = np.sort(random.choice(n, count, replace=False))
        self.squares_ = self._from_landmarks(X)
        np.square(self.squares_, out=self.squares_)  # in place: this is the one large matrix
        between = self.squares_ if count == n else self.squares_[:, self.landmarks_]
        self.scaling_ = Scaling.of(between, self.n_components, random)
        everywhere = count == n
        self.embedding_ = (
            self.scaling_.coordinates() if everywhere else self.scaling_.place(self.squares_.T)
        )
        return self

    def transform(self, X: Points) -> Coordinates:
        """Coordinates of new points, each reached through its nearest known points."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.metric == "euclidean":
            return self.scaling_.place(cdist(X, self.points_[self.landmarks_], "sqeuclidean"))
        doors = nearest_neighbours(self.points_, self.k_, queries=X, n_jobs=self.n_jobs)
        paths = np.full((len(X), len(self.landmarks_)), np.inf)
        for door, step in zip(doors.indices.T, doors.distances.T, strict=True):
            through = np.sqrt(self.squares_[:, door].T) + step[:, None]
            np.minimum(paths, through, out=paths)
        return self.scaling_.place(paths**2)

    @property
    def dist_matrix_(self) -> Float[np.ndarray, "m n"]:
        """The distance of every point from every landmark, along the manifold."""
        return np.sqrt(self.squares_)

    def _from_landmarks(self, X: Points) -> Float[np.ndarray, "m n"]:
        """The distance of every point from every landmark."""
        self.k_ = at_most_others(self.n_neighbors, len(X))
        if self.metric == "euclidean":
            return cdist(X[self.landmarks_], X)
        graph = neighbourhood_graph(X, self.k_, self.n_jobs)
        return geodesics(graph, self.landmarks_, self.n_jobs)


def neighbourhood_graph(points: Points, k: int, n_jobs: int | None = None) -> csr_array:
    """Lengths of the edges from each point to its k nearest, the same in both directions."""
    n = len(points)
    near = nearest_neighbours(points, k, n_jobs=n_jobs).graph(n)
    near.data[:] = 1  # the pattern first: an edge between equal points has length zero
    near = near.maximum(near.T)
    pieces, piece = connected_components(near, directed=False)
    if pieces > 1:
        warnings.warn(
            f"the graph of {k} neighbours falls into {pieces} pieces, which are joined where they"
            " are nearest; more neighbours may hold it together",
            stacklevel=3,
        )
        ends = [
            nearest_pair(points, piece == a, piece == b) for a, b in combinations(range(pieces), 2)
        ]
        rows, columns = np.array(ends).T
        bridges = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
        near = near.maximum(bridges).maximum(bridges.T)
    graph = near.tocsr()
    starts = np.repeat(np.arange(n), np.diff(graph.indptr))
    graph.data = np.linalg.norm(points[starts] - points[graph.indices], axis=1)
    return graph


def nearest_pair(
    points: Points, one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]
) -> tuple[int, int]:
    """The two points, one of each set, that are nearest to each other."""
    near = nearest_neighbours(points[one], 1, queries=points[other])
    closest = int(near.distances.argmin())
    return int(np.flatnonzero(one)[near.indices[closest, 0]]), int(np.flatnonzero(other)[closest])


def geodesics(
    graph: csr_array, sources: Int[np.ndarray, " m"], n_jobs: int | None = None
) -> Float[np.ndarray, "m n"]:
    """Lengths of the shortest paths from some nodes of an undirected graph to all nodes.

    Dijkstra's algorithm finds the order in which a wave from one source reaches the nodes. From
    the sources beside it waves reach them in nearly that order, so one sweep over the nodes in
    that order, relaxing the paths from 64 sources at once in vector instructions, leaves little to
    correct; sweeps are repeated until one changes nothing. Exact, and several times faster than 64
    runs of Dijkstra's algorithm.
    """
    net = graph.indptr, graph.indices, graph.data
    paths = np.empty((len(sources), graph.shape[0]))
    row = np.full(graph.shape[0], -1)
    row[sources] = np.arange(len(sources))
    plans = []
    for source in sources:
        if row[source] >= 0:
            order = order_of_arrival(*net, source)
            near = order[row[order] >= 0][:LANES]
            plans.append((order, near, row[near]))
            row[near] = -1

    def follow(start: int, stop: int) -> None:
        for order, near, rows in plans[start:stop]:
            paths[rows] = relax(*net, order, near)[:, : len(near)].T

    with Rows(n_jobs) as pool:
        pool.each(len(plans), 1, follow)
    return paths


@compiled
def order_of_arrival(
    first: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " edges"],
    length: Float[np.ndarray, " edges"],
    source: int,
) -> Int[np.ndarray, " reached"]:
    """The nodes in order of their distance from the source."""
    order = np.empty(len(first) - 1, dtype=np.int32)
    distance = np.full(len(order), np.inf)
    done = np.zeros(len(order), dtype=np.bool_)
    distance[source] = 0.0
    front = [(0.0, np.int64(source))]
    reached = 0
    while len(front) > 0:
        passed, node = heappop(front)
        if done[node]:
            continue
        done[node] = True
        order[reached] = node
        reached += 1
        for edge in range(first[node], first[node + 1]):
            other, path = neighbour[edge], passed + length[edge]
            if path < distance[other]:
                distance[other] = path
                heappush(front, (path, np.int64(other)))
    return order[:reached]


@compiled
def relax(
    first: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " edges"],
    length: Float[np.ndarray, " edges"],
    order: Int[np.ndarray, " reached"],
    sources: Int[np.ndarray, " s"],
) -> Float[np.ndarray, "n lanes"]:
    """Shortest paths from at most LANES sources, by sweeps over the nodes until nothing changes."""
    paths = np.full((len(first) - 1, LANES), np.inf)  # a node out of reach stays there
    for lane in range(len(sources)):
        paths[sources[lane], lane] = 0.0
    shortest, before = np.empty(LANES), np.empty(LANES)
    changed = True
    while changed:
        changed = False
        for node in order:
            shortest[:] = paths[node]
            for edge in range(first[node], first[node + 1]):
                shortest, before = before, shortest  # written in place, it would not be vectorised
                other, step = neighbour[edge], length[edge]
                for lane in range(LANES):
                    path = paths[other, lane] + step
                    shortest[lane] = path if path < before[lane] else before[lane]
            news = 0
            for lane in range(LANES):
                news += shortest[lane] < paths[node, lane]
            if news > 0:
                changed = True
                paths[node] = shortest
    return paths
