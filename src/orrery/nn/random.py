"""Random streams for estimators that follow scikit-learn's `random_state`."""

import numpy as np
from sklearn.utils import check_random_state

RandomState = int | np.random.RandomState | None


def generator(random_state: RandomState) -> np.random.Generator:
    """A fresh stream: of a seed always the same one, of None never the same twice.

    Raises:
        ValueError: random_state is none of the three.
    """
    return np.random.default_rng(check_random_state(random_state).randint(2**31))
