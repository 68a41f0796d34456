"""Loops that numpy and torch cannot express fast, compiled by numba: one decorator, one cache."""

import inspect
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from orrery.home import cache_folder

os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder("numba")))
import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function in machine code, compiled at its first call and kept on disk.

    Floating point stays as written (no fastmath), so results do not depend on the compiler's
    mood; the interpreter lock is released. Compiled functions may call one another.
    """
    decorate: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
    return decorate(inspect.unwrap(function))  # unwrap: tests wrap every function in shape checks
