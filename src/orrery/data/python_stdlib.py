"""Python code: the standard library of the Python that is running, without its tests."""

import os
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from orrery.data.card import Card
from orrery.errors import OrreryError

CARD = Card(
    name="python_stdlib",
    title="The Python standard library",
    kind="text",
    manager="installed",
    package="python",
    licence="PSF-2.0",
    redistributable=True,
    stands_for="the code that Codex, AlphaCode and DeepSeek-Coder are trained on",
    citation="Python Software Foundation",
    note="files and counts vary with the version of Python; runs record the version",
)

_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
_OF_THIS_MACHINE = ("_sysconfigdata", "_sysconfig_vars", "config-")
HELD_OUT_EVERY = 10


def modules() -> dict[str, str]:
    """The source of each top-level module or package by its name, in the order of the names.

    Raises:
        OrreryError: this Python keeps no source of its library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, list[str]] = {}
    for path in sorted(_sources(root)):
        with tokenize.open(path) as file:
            name = path.relative_to(root).parts[0].removesuffix(".py")
            found.setdefault(name, []).append(file.read())
    if not found:
        raise OrreryError(f"no source of the standard library in {root}: install it")
    return {name: "\n".join(found[name]) for name in sorted(found)}


def load() -> str:
    """All modules, one after another."""
    return "\n".join(modules().values())


def split() -> tuple[str, str]:
    """The code to train on and that of every tenth module, a package being one module."""
    texts = list(modules().values())
    held_out = texts[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    del texts[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    return "\n".join(texts), "\n".join(held_out)


def _sources(root: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if _wanted(name)]  # the others are not walked
        yield from (Path(folder, name) for name in files if name.endswith(".py") and _wanted(name))


def _wanted(name: str) -> bool:
    """Not a test, not another's package, not a record of how this very Python was built."""
    return name not in _LEFT_OUT and not name.startswith(_OF_THIS_MACHINE)
