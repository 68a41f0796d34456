"""Results that cost time to make from files, kept until one of those files changes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from orrery import __version__
from orrery.errors import OrreryError
from orrery.files import write_atomically
from orrery.home import cache_folder


def made_from(files: Iterable[Path], kind: str, place: Path, make: Callable[[], Any]) -> Any:
    """What `make` returns (plain JSON values), from the cache while all `files` are as they were.

    A cache that cannot be read, does not fit its digest or cannot be written only costs time.

    Args:
        files: what the result is made from; a file more or less makes it anew.
        kind: name of the cache's folder.
        place: folder the files stand under; each place keeps one result of a kind.
        make: makes the result; its errors pass through and nothing is kept.
    """
    state = _state_of(files)
    kept = _cache_file(kind, place)
    if kept is not None:
        found = _read(kept, state)
        if found is not None:
            return found[0]
    result = make()
    if kept is not None:
        body = json.dumps(result, ensure_ascii=False)
        with contextlib.suppress(OrreryError):
            write_atomically(kept, f"{state} {_digest(body)}\n{body}")
    return result


def _state_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(map(str, files)):
        stat = os.stat(file)
        digest.update(f"{file}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _cache_file(kind: str, place: Path) -> Path | None:
    name = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    try:
        return cache_folder(kind) / f"{name}.json"
    except (OSError, OrreryError):  # nowhere to write: do without
        return None


def _read(kept: Path, state: str) -> tuple[Any] | None:
    """The result in a tuple (it may be anything, None too), or None."""
    try:
        header, _, body = kept.read_text(encoding="utf-8").partition("\n")
        if header != f"{state} {_digest(body)}":
            return None
        return (json.loads(body),)
    except (OSError, ValueError):
        return None


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
