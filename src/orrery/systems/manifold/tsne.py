"""t-SNE: a map in which near points stay near, drawn with a heavy-tailed kernel.

Source: van der Maaten and Hinton 2008, "Visualizing data using t-SNE", JMLR 9:2579-2605; few
similarities in place of all: van der Maaten 2014, JMLR 15:3221-3245; learning rate: Belkina et al.
2019, doi:10.1038/s41467-019-13055-y; start from principal components: Kobak and Berens 2019,
doi:10.1038/s41467-019-13056-x; degrees of freedom: Kobak et al. 2019, arXiv:1902.05804.
Differs from the papers: beyond a few thousand points repulsion goes through a grid
(nn/particle_mesh.py), not a tree; above a thousand points the momentum after the exaggerated phase
is 0.95, not 0.8: the map has far to grow, and the same divergence takes less than half the steps.

Similarities p come from Gaussians about the points, each as wide as gives its row the wanted
perplexity, averaged over the two directions. In the map q_ij = K_ij / Z, with K = 1 / (1 + d_ij^2)
and Z its sum over all pairs. Descent on KL(P||Q) = sum p log(p / q), whose gradient is
4 sum_j (p_ij - q_ij) s_ij (y_i - y_j), s = K^(1/freedom): attraction along the few p_ij > 0,
repulsion from everybody. With infinite freedom K is a Gaussian, and this is symmetric SNE.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from sklearn.utils.validation import check_array, validate_data

from orrery.catalog import System
from orrery.nn.embedder import Embedder
from orrery.nn.neighbours import nearest_neighbours
from orrery.nn.pair_sums import Sums, pair_sums, student_pair_sums
from orrery.nn.particle_mesh import Grid
from orrery.nn.random import RandomState, generator
from orrery.nn.rows import Rows
from orrery.systems.manifold.pca import PCA
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="tsne", area="manifold", title="t-SNE", year=2008,
    papers=("JMLR 9:2579-2605", "JMLR 15:3221-3245", "arXiv:1902.05804"),
    builds_on=("pca",), realises=("tsne",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Map = Float[np.ndarray, "n k"]

GRID_FROM = 500  # points; from about here a grid is faster than all pairs
STUDENT_GRID_FROM = 4000  # the same for Student's kernel, which has a fast way to all pairs
START = 1e-4  # spread of the first map: so small that clusters can still pass through each other
EXAGGERATED = 100  # iterations of the first phase
LARGE = 1000  # points; fewer are done growing after the exaggerated phase, and need no momentum
LONGEST_STEP = 5.0  # a point cannot shoot off, and stretch the grid


class TSNE(Embedder):
    """A map of the points; it is not a function, so new points cannot be put on it.

    Args:
        n_components: dimension of the map.
        perplexity: effective number of neighbours; lowered, with a warning, to a third of the
            other points where there are too few.
        freedom: degrees of freedom of the map's kernel; 1 is t-SNE, infinity is SNE.
        exaggeration: factor on the similarities in the first 100 iterations.
        max_iter: iterations of both phases together.
        init: "pca", "random", or the positions themselves, which are scaled to a small spread.
        method: repulsion over all pairs ("exact"), by a grid over the plane ("grid"), or by size
            ("auto").
        random_state: seeds a random start.
        n_jobs: threads; -1 for all cores.
    """

    def __init__(  # noqa: PLR0913  estimators take every setting here
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        freedom: float = 1.0,
        exaggeration: float = 12.0,
        max_iter: int = 350,
        init: Literal["pca", "random"] | Map = "pca",
        method: Literal["auto", "exact", "grid"] = "auto",
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.freedom = freedom
        self.exaggeration = exaggeration
        self.max_iter = max_iter
        self.init = init
        self.method = method
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Points, y: object = None) -> "TSNE":
        """Draw the map.

        Raises:
            ValueError: a setting outside its range; the message names it.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self._check()
        n = len(X)
        self.perplexity_ = min(self.perplexity, max(1.0, (n - 1) / 3))
        if self.perplexity_ < self.perplexity:
            message = f"perplexity={self.perplexity} is lowered to {self.perplexity_:.3g}"
            warnings.warn(f"{message}: there are {n} points", stacklevel=2)
        similar = similarities(X, self.perplexity_, self.n_jobs)
        with Rows(self.n_jobs) as rows:
            descent = Descent(similar, self._repulsion(n, rows), self.freedom, rows)
            early = min(EXAGGERATED, self.max_iter)
            place = descent.run(self._start(X), early, n / 12, 0.8, self.exaggeration)
            momentum = 0.95 if n > LARGE else 0.8
            self.embedding_ = descent.run(place, self.max_iter - early, float(n), momentum)
            self.kl_divergence_ = descent.divergence(self.embedding_)
        self.n_iter_ = self.max_iter
        return self

    def _check(self) -> None:
        ranges = {
            "n_components": (self.n_components, 1, np.inf),
            "perplexity": (self.perplexity, 1, np.inf),
            "freedom": (self.freedom, 0.1, np.inf),
            "exaggeration": (self.exaggeration, 1, np.inf),
            "max_iter": (self.max_iter, 1, np.inf),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise ValueError(f"{name}={value} must be at least {low}")
        if self.method not in ("auto", "exact", "grid"):
            raise ValueError(f"method={self.method!r} must be 'auto', 'exact' or 'grid'")
        if self.method == "grid" and self.n_components != 2:
            raise ValueError(f"method='grid' needs n_components=2, not {self.n_components}")

    def _start(self, X: Points) -> Map:
        """The first map, with spread START along its first axis."""
        n, k = len(X), self.n_components
        if isinstance(self.init, str) and self.init == "random":
            start = generator(self.random_state).normal(size=(n, k))
        elif isinstance(self.init, str) and self.init == "pca":
            axes = min(k, *X.shape)
            start = np.zeros((n, k))
            start[:, :axes] = PCA(axes).fit_transform(X)
        elif isinstance(self.init, str):
            raise ValueError(f"init={self.init!r} must be 'pca', 'random' or an array")
        else:
            start = check_array(self.init, dtype=np.float64)
            if start.shape != (n, k):
                raise ValueError(f"init has shape {start.shape} and must have shape {(n, k)}")
        return START / (start[:, 0].std() or 1.0) * (start - start.mean(axis=0))

    def _repulsion(self, n: int, rows: Rows) -> Callable[[Map], Sums]:
        plane, student = self.n_components == 2, self.freedom == 1
        crowd = n >= (STUDENT_GRID_FROM if student else GRID_FROM)
        if self.method == "grid" or (self.method == "auto" and plane and crowd):
            return Grid(self.freedom, rows).pair_sums
        if student and plane:
            return lambda place: student_pair_sums(place, rows)
        return lambda place: pair_sums(place, self.freedom, rows)


class Descent:
    """Gradient descent on the divergence, with momentum and a gain for every coordinate."""

    def __init__(
        self, similar: csr_array, repel: Callable[[Map], Sums], freedom: float, rows: Rows
    ) -> None:
        self.similar = similar
        self.near = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
        self.repel = repel
        self.freedom = freedom
        self.rows = rows

    def gradient(self, place: Map, exaggeration: float = 1.0) -> Map:
        """Of the divergence by the places, over 4."""
        pushes, total = self.repel(place)
        return exaggeration * self.pulls(place) - pushes / total

    def pulls(self, place: Map) -> Map:
        """sum_j p_ij s_ij (y_i - y_j)."""
        if place.shape[1] == 2:
            pulls = np.empty(place.shape)
            net = self.similar.indptr, self.similar.indices, self.similar.data
            self.rows.each(
                len(place), 2048, lambda a, b: attract(*net, place, self.freedom, a, b, pulls)
            )
            return pulls
        apart = place[self.near] - place[self.similar.indices]
        weights = self.similar.data / (1 + np.sum(apart**2, axis=1) / self.freedom)
        return np.add.reduceat(weights[:, None] * apart, self.similar.indptr[:-1])

    def divergence(self, place: Map) -> float:
        """KL(P||Q), in nats."""
        _, total = self.repel(place)
        p = self.similar.data
        squares = np.sum((place[self.near] - place[self.similar.indices]) ** 2, axis=1)
        minus_log_kernel = squares
        if self.freedom < np.inf:
            minus_log_kernel = self.freedom * np.log1p(squares / self.freedom)
        return float(np.sum(p * (np.log(p) + minus_log_kernel)) + np.log(total))

    def run(
        self, place: Map, steps: int, rate: float, momentum: float, exaggeration: float = 1.0
    ) -> Map:
        """The places after so many steps; begins at rest, with all gains 1."""
        place, velocity, gain = place.copy(), np.zeros(place.shape), np.ones(place.shape)
        for _ in range(steps):
            step(place, velocity, gain, self.gradient(place, exaggeration), rate, momentum)
            place -= place.mean(axis=0)
        return place


def similarities(points: Points, perplexity: float, n_jobs: int | None = None) -> csr_array:
    """p_ij, symmetric and summing to 1; zero but for the 3 * perplexity nearest on either side."""
    n = len(points)
    near = nearest_neighbours(points, min(n - 1, int(np.ceil(3 * perplexity))), n_jobs=n_jobs)
    graph = near.graph(n)
    graph.data = calibrated(near.distances, perplexity).ravel() / (2 * n)
    return csr_array(graph + graph.T)


@compiled
def calibrated(distances: Float[np.ndarray, "n k"], perplexity: float) -> Float[np.ndarray, "n k"]:
    """Each row's Gaussian weights exp(-b d^2), scaled to sum 1, of the wanted perplexity.

    The entropy falls with b, with slope -b variance(d^2): Newton's method on log b, kept between
    the last b that was too small and the last that was too large.
    """
    wanted = np.log(perplexity)
    n, k = distances.shape
    weights = np.empty((n, k))
    for i in range(n):
        squares = distances[i] ** 2 - distances[i].min() ** 2  # the nearest weighs 1: no underflow
        mean = squares.mean()
        log_b, low, high = -np.log(mean) if mean > 0.0 else 0.0, -np.inf, np.inf
        for _ in range(100):
            b = np.exp(log_b)
            total, first, second = 0.0, 0.0, 0.0
            for j in range(k):
                weight = np.exp(-b * squares[j])
                weights[i, j] = weight
                total += weight
                first += weight * squares[j]
                second += weight * squares[j] ** 2
            mean = first / total
            excess = np.log(total) + b * mean - wanted
            if abs(excess) < 1e-9:
                break
            low, high = (log_b, high) if excess > 0 else (low, log_b)
            log_b += excess / (b * b * (second / total - mean * mean))
            if not low < log_b < high:  # also where the slope was zero
                left = low if low > -np.inf else high - 2
                log_b = (left + min(high, left + 2)) / 2
        weights[i] /= total
    return weights


@compiled
def attract(
    first: Int[np.ndarray, " n+1"],
    other: Int[np.ndarray, " edges"],
    similar: Float[np.ndarray, " edges"],
    place: Float[np.ndarray, "n 2"],
    freedom: float,
    start: int,
    stop: int,
    pulls: Float[np.ndarray, "n 2"],
) -> None:
    """The pulls on some of the points, in the plane."""
    for i in range(start, stop):
        pull_x, pull_y = 0.0, 0.0
        for edge in range(first[i], first[i + 1]):
            j = other[edge]
            right = place[i, 0] - place[j, 0]
            up = place[i, 1] - place[j, 1]
            weight = similar[edge] / (1.0 + (right * right + up * up) / freedom)
            pull_x += weight * right
            pull_y += weight * up
        pulls[i, 0], pulls[i, 1] = pull_x, pull_y


@compiled
def step(place: Map, velocity: Map, gain: Map, gradient: Map, rate: float, momentum: float) -> None:
    """One step: a coordinate's gain grows while it keeps its direction, and shrinks at a turn."""
    n, axes = place.shape
    for i in range(n):
        square = 0.0
        for axis in range(axes):
            onward = (velocity[i, axis] > 0.0) != (gradient[i, axis] > 0.0)
            gain[i, axis] = gain[i, axis] + 0.2 if onward else gain[i, axis] * 0.8 + 0.01
            velocity[i, axis] *= momentum
            velocity[i, axis] -= rate * gain[i, axis] * gradient[i, axis]
            square += velocity[i, axis] ** 2
        slower = min(1.0, LONGEST_STEP / np.sqrt(square)) if square > 0.0 else 1.0
        for axis in range(axes):
            velocity[i, axis] *= slower
            place[i, axis] += velocity[i, axis]
