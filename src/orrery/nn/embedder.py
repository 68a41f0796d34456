"""What scikit-learn expects of every method that gives points coordinates."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

Points = Float[np.ndarray, "n d"]
Coordinates = Float[np.ndarray, "n k"]


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """An estimator whose `fit` leaves the coordinates of the points in `embedding_`."""

    embedding_: Coordinates
    """Of the points that were fitted, in their order."""

    @abstractmethod
    def fit(self, X: Points, y: object = None) -> "Embedder":
        """Find coordinates of the points; y is there for pipelines and not read."""

    def fit_transform(self, X: Points, y: object = None) -> Coordinates:
        """Find and return coordinates of the points."""
        return self.fit(X).embedding_

    @property
    def _n_features_out(self) -> int:  # the name scikit-learn's mixin reads
        return self.embedding_.shape[1]
