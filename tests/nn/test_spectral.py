import numpy as np
import pytest
from scipy.sparse import csc_array

from orrery.nn.rows import Rows, threads
from orrery.nn.spectral import bottom_eigenvectors, fixed_signs, top_eigenvectors

RNG = np.random.default_rng


@pytest.mark.parametrize("n", [40, 320])  # the dense way, and Lanczos
def test_top_eigenvectors_are_the_largest_of_a_full_decomposition(n):
    half = RNG(0).normal(size=(n, n))
    matrix = half @ half.T
    values, vectors = top_eigenvectors(lambda v: matrix @ v, n, 3, RNG(1))
    every = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(values, every[::-1][:3], rtol=1e-9)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-6 * every[-1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("n", [40, 320])
def test_bottom_eigenvectors_of_a_path_are_cosines(n):
    """The Laplacian of a path of n nodes is singular; its eigenvalues are 4 sin^2(pi j / 2n)."""
    difference = np.diff(np.eye(n), axis=0)
    laplacian = difference.T @ difference
    values, vectors = bottom_eigenvectors(csc_array(laplacian), 4, RNG(0))
    expected = 4 * np.sin(np.pi * np.arange(4) / (2 * n)) ** 2
    np.testing.assert_allclose(values, expected, atol=1e-12)
    waves = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(4)) / n)
    waves = fixed_signs(waves / np.linalg.norm(waves, axis=0))
    np.testing.assert_allclose(np.abs(np.sum(waves * vectors, axis=0)), 1, atol=1e-7)


def test_signs_are_those_of_the_largest_entries():
    vectors = np.array([[1.0, -3.0], [-2.0, 2.0]])
    np.testing.assert_array_equal(fixed_signs(vectors), [[-1.0, 3.0], [2.0, -2.0]])


def test_rows_are_each_visited_once_by_any_number_of_threads():
    for jobs in (None, 1, 3):
        visits = np.zeros(100, dtype=int)

        def visit(start, stop, visits=visits):
            assert stop - start <= 7
            visits[start:stop] += 1

        with Rows(jobs) as rows:
            rows.each(100, 7, visit)
            rows.each(0, 7, visit)
        assert (visits == 1).all()


def test_an_error_in_a_thread_is_raised():
    def fail(start, stop):
        raise RuntimeError(start)

    with Rows(2) as rows, pytest.raises(RuntimeError):
        rows.each(10, 2, fail)


def test_numbers_of_threads_follow_scikit_learn():
    assert threads(None) == 1
    assert threads(3) == 3
    assert threads(-1) >= 1
    assert threads(-10_000) == 1
    with pytest.raises(ValueError, match="n_jobs=0"):
        threads(0)
