"""Where orrery keeps what it makes: one folder, `ORRERY_HOME` or the platform's own place."""

import os
import sys
from functools import cache
from pathlib import Path

from orrery.errors import UsageError


def home() -> Path:
    """The folder of runs, data and caches, made if missing.

    `ORRERY_HOME` if set; else the user's data folder; else, where that cannot be written
    (a read-only home), a folder inside the environment orrery is installed in.

    Raises:
        UsageError: no such folder can be written.
    """
    return _home(os.environ.get("ORRERY_HOME", ""))


@cache
def _home(override: str) -> Path:
    if override:
        candidates = [Path(os.path.expanduser(override)).absolute()]
    else:
        candidates = [*_of_user(), Path(sys.prefix) / "var" / "orrery"]
    for folder in candidates:
        if _writable(folder):
            return folder
    tried = ", ".join(str(folder) for folder in candidates)
    raise UsageError(f"cannot write to {tried}: set ORRERY_HOME to a folder that can be written")


def _of_user() -> list[Path]:
    """The user's data folder; none for a user without any home."""
    import platformdirs  # here, since a look-up with ORRERY_HOME set need not wait for it

    try:
        folder = Path(platformdirs.user_data_dir("orrery", appauthor=False))
    except RuntimeError:
        return []
    return [folder] if folder.is_absolute() else []


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def cache_folder(name: str) -> Path:
    """A folder for what can be made again at any time."""
    folder = home() / "cache" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
