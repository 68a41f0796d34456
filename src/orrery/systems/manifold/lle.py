"""Locally linear embedding: keep the weights that rebuild each point from its neighbours.

Source: Roweis and Saul 2000, "Nonlinear dimensionality reduction by locally linear embedding",
Science 290:2323-2326, doi:10.1126/science.290.5500.2323; the regularised weights: Saul and Roweis
2003, "Think globally, fit locally", JMLR 4:119-155, equation 9.
Differs from the papers: none known; the bottom eigenvectors come from a sparse factorisation.

1. Weights w_ij over the k nearest of point i, summing to 1, that minimise |x_i - sum_j w_ij x_j|;
they do not change when the neighbourhood is moved, turned or scaled. 2. Coordinates y of unit
covariance that minimise sum_i |y_i - sum_j w_ij y_j|^2: the bottom eigenvectors of
M = (I - W)^T (I - W), without the constant one, whose eigenvalue is zero.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array, eye_array
from sklearn.utils.validation import check_is_fitted, validate_data

from orrery.catalog import System
from orrery.nn.embedder import Embedder
from orrery.nn.neighbours import Neighbours, at_most_others, nearest_neighbours
from orrery.nn.random import RandomState, generator
from orrery.nn.spectral import bottom_eigenvectors

SYSTEM = System(
    stem="lle", area="manifold", title="Locally linear embedding", year=2000,
    papers=("doi:10.1126/science.290.5500.2323",), builds_on=(), realises=("lle",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Coordinates = Float[np.ndarray, "n k"]


class LLE(Embedder):
    """Coordinates in which every point is still the same mixture of its neighbours.

    Args:
        n_components: dimension of the coordinates.
        n_neighbors: how many nearest points each point is rebuilt from; fewer, with a warning,
            where there are not as many.
        regularisation: added to the diagonal of each neighbourhood's Gram matrix, as a share of
            its trace; needed where there are more neighbours than dimensions.
        random_state: starts the eigenvector iteration; the result hardly depends on it.
        n_jobs: threads; -1 for all cores.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        n_neighbors: int = 5,
        regularisation: float = 1e-3,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.regularisation = regularisation
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Points, y: object = None) -> "LLE":
        """Find coordinates of the points.

        Raises:
            ValueError: n_neighbors below 1, a regularisation that is not positive, or n_components
                not between 1 and n - 1.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        n = len(X)
        if not 1 <= self.n_components < n:
            raise ValueError(f"n_components={self.n_components} must be between 1 and {n - 1}")
        if not self.regularisation > 0:
            raise ValueError(f"regularisation={self.regularisation} must be positive")
        self.points_ = X
        self.k_ = at_most_others(self.n_neighbors, n)
        near = nearest_neighbours(X, self.k_, n_jobs=self.n_jobs)
        weights = mixtures(X, X, near, self.regularisation)
        values, vectors = bottom_eigenvectors(
            misfit(near.indices, weights), self.n_components + 1, generator(self.random_state)
        )
        self.embedding_ = vectors[:, 1:]
        self.reconstruction_error_ = float(values[1:].sum())
        return self

    def transform(self, X: Points) -> Coordinates:
        """Coordinates of new points: the mixture that rebuilds a point also places it."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        near = nearest_neighbours(self.points_, self.k_, queries=X, n_jobs=self.n_jobs)
        weights = mixtures(X, self.points_, near, self.regularisation)
        return np.einsum("nk,nkd->nd", weights, self.embedding_[near.indices])


def mixtures(
    queries: Float[np.ndarray, "q d"], points: Points, near: Neighbours, regularisation: float
) -> Float[np.ndarray, "q k"]:
    """Weights, summing to 1, with which the neighbours of each query best rebuild it."""
    towards = points[near.indices] - queries[:, None]  # q k d
    gram = towards @ towards.transpose(0, 2, 1)
    trace = np.trace(gram, axis1=1, axis2=2)
    diagonal = np.arange(gram.shape[1])
    gram[:, diagonal, diagonal] += regularisation * np.where(trace > 0, trace, 1)[:, None]
    weights = np.linalg.solve(gram, np.ones((*gram.shape[:2], 1)))[..., 0]
    return weights / weights.sum(axis=1, keepdims=True)


def misfit(indices: Int[np.ndarray, "n k"], weights: Float[np.ndarray, "n k"]) -> csc_array:
    """M = (I - W)^T (I - W): y^T M y is how badly the mixtures rebuild the coordinates y."""
    n, k = indices.shape
    ends = np.arange(0, n * k + 1, k)
    residual = eye_array(n) - csr_array((weights.ravel(), indices.ravel(), ends), shape=(n, n))
    return csc_array(residual.T @ residual)
