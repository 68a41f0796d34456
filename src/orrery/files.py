"""Files written whole or not at all: temporary file, fsync, rename, fsync of the folder."""

import contextlib
import errno
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from orrery.errors import OrreryError

TEMPORARY = ".tmp"


def write_atomically(path: Path, data: bytes | str) -> None:
    """Put `data` at `path`; a crash at any moment leaves the old file or the new one, whole.

    Raises:
        OrreryError: the disk is full or cannot be written; what stood at `path` still stands.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, len(raw), error) from error


def cannot_write(path: Path, size: int, error: OSError) -> OrreryError:
    """The one-line error for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OrreryError(f"no space left: {path} needs {size:,} bytes; free some and resume")
    return OrreryError(f"cannot write {path} ({size:,} bytes): {error.strerror or error}")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed writer left behind in `folder`."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON that people can read, atomically."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OrreryError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise OrreryError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise OrreryError(f"{path} is damaged: {error}") from error


def sha256(data: bytes) -> str:
    """The SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def leave(code: int) -> NoReturn:
    """End the process once its output is written: to take torch apart would cost a second."""
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
