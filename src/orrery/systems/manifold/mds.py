"""Classical multidimensional scaling: coordinates whose distances are the given ones.

Source: Torgerson 1952, "Multidimensional scaling: I. Theory and method", Psychometrika
17:401-419, doi:10.1007/BF02288916; new points: Gower 1968, "Adding a point to vector diagrams in
multivariate analysis", Biometrika 55(3):582-585, doi:10.1093/biomet/55.3.582.
Differs from the papers: only the wanted eigenvectors are computed, by Lanczos iteration, and the
centring matrix J = I - 11^T/n is applied to vectors, never built.

B = -1/2 J D^2 J holds the inner products of the centred points. With B = V L V^T the coordinates
are V sqrt(L). Where the distances are Euclidean they come back exactly, and the coordinates are
those of principal component analysis.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_symmetric, validate_data

from orrery.catalog import System
from orrery.nn.random import RandomState, generator
from orrery.nn.spectral import top_eigenvectors

SYSTEM = System(
    stem="mds", area="manifold", title="Classical multidimensional scaling", year=1952,
    papers=("doi:10.1007/BF02288916", "doi:10.1093/biomet/55.3.582"),
    builds_on=(), realises=("mds",),
)  # fmt: skip

Squares = Float[np.ndarray, "n n"]  # squared distances between n points
Coordinates = Float[np.ndarray, "n k"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """The eigenvectors of B, and what it takes to place further points among the n it knows."""

    values: Float[np.ndarray, " k"]
    vectors: Coordinates
    mean_squares: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, squares: Squares, k: int, random: np.random.Generator) -> "Scaling":
        """Scale n points in k dimensions, given their squared distances.

        Raises:
            ValueError: k is not between 1 and n.
        """
        n = len(squares)
        if not 1 <= k <= n:
            raise ValueError(f"n_components={k} must be between 1 and the number of points, {n}")

        def inner_products(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
            image = squares @ (vector - vector.mean())
            return (image - image.mean()) / -2

        values, vectors = top_eigenvectors(inner_products, n, k, random)
        return cls(values, vectors, squares.mean(axis=0))

    def coordinates(self) -> Coordinates:
        """Where the n points lie; no extent along directions whose eigenvalue is not positive."""
        return self.vectors * np.sqrt(np.maximum(self.values, 0))

    def place(self, squares: Float[np.ndarray, "q n"]) -> Float[np.ndarray, "q k"]:
        """Where points lie whose squared distances from the n points are these (Gower)."""
        positive = self.values > np.finfo(np.float64).eps * max(self.values[0], 0)
        scale = np.where(positive, np.sqrt(np.where(positive, self.values, 1)), np.inf)
        directions = self.vectors / (-2 * scale)
        return squares @ directions - self.mean_squares @ directions


class ClassicalMDS(BaseEstimator):  # type: ignore[misc]
    """Coordinates from distances, or from points by way of their distances.

    Args:
        n_components: dimension of the coordinates.
        metric: "euclidean": X holds points; "precomputed": X is a matrix of distances.
        random_state: starts the eigenvector iteration; the result hardly depends on it.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        metric: Literal["euclidean", "precomputed"] = "euclidean",
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.metric = metric
        self.random_state = random_state

    def fit(self, X: Float[np.ndarray, "n d"], y: object = None) -> "ClassicalMDS":
        """Find coordinates of the points.

        Raises:
            ValueError: an unknown metric, distances that are not symmetric, or n_components
                outside 1 to n.
        """
        if self.metric not in ("euclidean", "precomputed"):
            raise ValueError(f"metric={self.metric!r} must be 'euclidean' or 'precomputed'")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if self.metric == "euclidean":
            squares = cdist(X, X, "sqeuclidean")
        else:
            squares = check_symmetric(X, raise_exception=True) ** 2
        scaling = Scaling.of(squares, self.n_components, generator(self.random_state))
        self.embedding_ = scaling.coordinates()
        self.eigenvalues_ = scaling.values
        return self

    def fit_transform(self, X: Float[np.ndarray, "n d"], y: object = None) -> Coordinates:
        """Find and return coordinates of the points."""
        return self.fit(X).embedding_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        return tags
