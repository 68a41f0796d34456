"""A few eigenvectors of a symmetric matrix, with a start and signs that do not depend on luck."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import LinearOperator, eigsh, splu

Vector = Float[np.ndarray, " n"]
Eigen = tuple[Float[np.ndarray, " k"], Float[np.ndarray, "n k"]]

DENSE = 200  # up to here a full decomposition is as fast, and needs no start


def fixed_signs(vectors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """The columns, each turned so that its entry of largest size is positive."""
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)


def top_eigenvectors(
    product: Callable[[Vector], Vector],
    n: int,
    k: int,
    random: np.random.Generator,
    tolerance: float = 0.0,
) -> Eigen:
    """The k largest eigenvalues, falling, and their vectors, from products with the matrix alone.

    Lanczos iteration from a random start; tolerance 0 asks for full precision.
    """
    if n <= max(DENSE, k + 1):
        matrix = np.column_stack([product(column) for column in np.eye(n)])
        values, vectors = eigh((matrix + matrix.T) / 2, subset_by_index=(n - k, n - 1))
    else:
        start = random.uniform(-1, 1, n)
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        values, vectors = eigsh(operator, k, which="LA", v0=start, tol=tolerance)
    falling = np.argsort(-values, kind="stable")
    return values[falling], fixed_signs(vectors[:, falling])


def bottom_eigenvectors(matrix: csc_array, k: int, random: np.random.Generator) -> Eigen:
    """The k smallest eigenvalues of a positive semi-definite matrix, rising, and their vectors.

    The smallest of M are the largest of (M + shift)^-1, which Lanczos finds in a few steps: one
    sparse factorisation, then two triangular solves a step.
    """
    n = matrix.shape[0]
    if n <= max(DENSE, k + 1):
        values, vectors = eigh(matrix.toarray(), subset_by_index=(0, k - 1))
        return values, fixed_signs(vectors)
    shift = 1e-12 * matrix.diagonal().max()  # M itself may be singular
    shifted = csc_array(matrix + shift * eye_array(n))
    ordering = {"permc_spec": "MMD_AT_PLUS_A", "options": {"SymmetricMode": True}}
    factors = splu(shifted, diag_pivot_thresh=0.0, **ordering)
    _, vectors = top_eigenvectors(factors.solve, n, k, random)
    return np.sum(vectors * (matrix @ vectors), axis=0), vectors
