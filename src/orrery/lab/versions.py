"""What decides a run's numbers besides its order: orrery's code and the packages under it."""

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

from orrery import __version__

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "numba", "safetensors")
CODE = Path(__file__).parents[1]


@cache
def versions() -> dict[str, str]:
    """Versions of Python, orrery and what its numbers depend on."""
    found = {"python": platform.python_version(), "orrery": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_digest() -> str:
    """The same for the same code and versions: then the same order gives the same numbers."""
    digest = hashlib.sha256(repr(versions()).encode())
    for file in sorted(CODE.rglob("*.py")):
        digest.update(f"\0{file.relative_to(CODE)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
