"""Spread the rows of an array over threads: compiled loops and BLAS release the interpreter."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def threads(n_jobs: int | None) -> int:
    """How many threads `n_jobs` asks for: None is one, -1 all cores, -2 all but one, and so on.

    Raises:
        ValueError: n_jobs is 0.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs=0 asks for no thread at all: give a positive or negative number")
    if n_jobs is None:
        return 1
    return n_jobs if n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + n_jobs)


class Rows:
    """Calls a function with (start, stop) until every row is done, on a few threads.

    Each row is computed by one call alone, so what comes out does not depend on the number
    of threads. One thread runs in the caller's own: no pool is made.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self.threads = threads(n_jobs)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def each(self, rows: int, block: int, call: Callable[[int, int], object]) -> None:
        """Call `call(start, stop)` for blocks of at most `block` rows."""
        spans = [(start, min(start + block, rows)) for start in range(0, rows, block)]
        if self._pool is None or len(spans) == 1:
            for span in spans:
                call(*span)
        else:
            list(self._pool.map(lambda span: call(*span), spans))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
