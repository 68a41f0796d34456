"""Principal component analysis: the flat subspace nearest to the data.

Source: Pearson 1901, "On lines and planes of closest fit to systems of points in space",
Philosophical Magazine 2(11):559-572.
Differs from the paper: the directions come from the singular value decomposition X = U S V^T of
the centred data (rows of V^T), not from Pearson's equations for one line or plane.

Only directions in space are found: a roll stays rolled up, whatever the number of components.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh, svd
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from orrery.catalog import System
from orrery.nn.spectral import fixed_signs

SYSTEM = System(
    stem="pca", area="manifold", title="Principal component analysis", year=1901,
    papers=("doi:10.1080/14786440109462720",), builds_on=(), realises=("pca",),
)  # fmt: skip

Points = Float[np.ndarray, "n d"]
Coordinates = Float[np.ndarray, "n k"]


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Projection on the directions of largest variance.

    Args:
        n_components: how many directions to keep; None keeps min(n, d).
    """

    def __init__(self, n_components: int | None = None) -> None:
        self.n_components = n_components

    def fit(self, X: Points, y: object = None) -> "PCA":
        """Find the directions.

        Raises:
            ValueError: n_components is not between 1 and min(n, d).
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        n, d = X.shape
        kept = min(n, d) if self.n_components is None else self.n_components
        if not 1 <= kept <= min(n, d):
            raise ValueError(
                f"n_components={kept} must be between 1 and min(n_samples, n_features)={min(n, d)}"
            )
        self.mean_ = X.mean(axis=0)
        values, directions = right_singular_vectors(X - self.mean_)
        variance = values**2 / (n - 1)
        self.n_components_ = kept
        self.components_ = directions[:kept]
        self.singular_values_ = values[:kept]
        self.explained_variance_ = variance[:kept]
        self.explained_variance_ratio_ = variance[:kept] / (variance.sum() or 1.0)
        return self

    def transform(self, X: Points) -> Coordinates:
        """Coordinates along the directions."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_) @ self.components_.T

    def inverse_transform(self, X: Coordinates) -> Points:
        """The points of the subspace that have these coordinates."""
        check_is_fitted(self)
        return np.asarray(X) @ self.components_ + self.mean_

    def reconstruction_error(self, X: Points) -> float:
        """Mean squared distance of the points from the subspace."""
        return float(np.sum((X - self.inverse_transform(self.transform(X))) ** 2, axis=1).mean())

    @property
    def _n_features_out(self) -> int:  # the name scikit-learn's mixin reads
        return len(self.components_)


def right_singular_vectors(
    centred: Points,
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r d"]]:
    """Singular values, falling, and right singular vectors as rows.

    Ten times as many rows as columns: from the eigenvectors of X^T X, one pass over the data. The
    condition number is squared there, so small singular values lose digits; elsewhere a full SVD.
    """
    n, d = centred.shape
    if n < 10 * d:
        _, values, directions = svd(centred, full_matrices=False)
    else:
        squares, vectors = eigh(centred.T @ centred)
        values, directions = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1].T
    return values, fixed_signs(directions.T).T
