"""The ordinary clients of pip, Debian and npm: where an installed package lies, how one is fetched.

Nothing of a package is ever imported, no file outside the card is written, and every place a
client writes to is given, so that a read-only home and an ordinary user are enough.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from orrery.data.card import Card
from orrery.errors import OrreryError

PATIENCE_SECONDS = 900

_ERROR = re.compile(r"^(E:|ERROR:|npm (error|ERR!)) .*", re.MULTILINE)  # apt's, pip's, npm's


def installed_folder(card: Card) -> Path | None:
    """The folder with the card's files in a package that is installed, if there is one."""
    match card.manager:
        case "pip" | "installed":
            try:
                package = importlib.metadata.distribution(card.package)
            except importlib.metadata.PackageNotFoundError:
                return None
            folder = Path(str(package.locate_file(card.inside)))
        case "debian":
            folder = Path("/", card.inside)
        case "npm":
            try:
                root = _run([_program("npm"), "root", "--global"], cwd=Path("/"))
            except OrreryError:
                return None
            folder = Path(root.strip(), card.package, card.inside)
        case "generated":
            return None
    return folder if folder.is_dir() else None


def download(card: Card, work: Path) -> Path:
    """The archive of the card's package, fetched by its manager's client.

    Everything the client writes goes under the folder `work`.

    Raises:
        OrreryError: the client is missing or failed.
    """
    folder = work / "archive"
    folder.mkdir()
    match card.manager:
        case "pip":
            _pip_download(card, work, folder)
        case "debian":
            _debian_download(card, work, folder)
        case "npm":
            _npm_download(card, work, folder)
        case "installed" | "generated":
            raise OrreryError(f"the files of {card.package} are not there, or not as released")
    archives = sorted(path for path in folder.iterdir() if path.is_file())
    if len(archives) != 1:
        found = ", ".join(path.name for path in archives) or "nothing"
        raise OrreryError(f"{card.manager} fetched {found} in place of one archive")
    return archives[0]


def unpack(card: Card, archive: Path, folder: Path) -> None:
    """Write the card's files, and no others, from the archive straight into `folder`.

    Names come from the card, never from the archive, so no path in an archive can lead outside.

    Raises:
        OrreryError: a file is not in the archive, or the archive cannot be read.
    """
    missing = set(card.sha256)
    try:
        for path, content in _members(archive):
            name = path.rpartition("/")[2]
            if name in missing and path == _join(card.inside, card.place(name)):
                with (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                missing.remove(name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise OrreryError(f"{archive.name} cannot be unpacked: {error}") from error
    if missing:
        name = min(missing)
        raise OrreryError(f"{archive.name} has no {_join(card.inside, card.place(name))}")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of an archive, as paths from the package's own root."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                with wheel.open(info) as content:
                    yield info.filename, content
    elif archive.suffix == ".deb":
        with _deb_stream(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tree:
            yield from _files(tree, "./")
    else:  # an sdist or an npm package: everything under one folder
        with tarfile.open(archive, mode="r:gz") as tree:
            yield from _files(tree, None)


def _files(tree: tarfile.TarFile, root: str | None) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tree:
        content = tree.extractfile(member) if member.isreg() else None
        if content is not None:
            path = member.name
            yield (path.removeprefix(root) if root else path.partition("/")[2]), content


@contextmanager
def _deb_stream(archive: Path) -> Iterator[IO[bytes]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield process.stdout
        process.stdout.read()  # the rest, so that dpkg-deb does not die of a closed pipe
    if process.returncode:
        raise OrreryError(f"{archive.name} is not a Debian package that dpkg-deb can read")


def _pip_download(card: Card, work: Path, folder: Path) -> None:
    """By exact archive: pip runs an sdist's set-up script, so it must be the one we have read."""
    pip = [sys.executable, "-m", "pip"] if find_spec("pip") else [_program("pip")]
    wanted = work / "requirements.txt"  # the one way to give pip a hash
    wanted.write_text(f"{card.package}=={card.version} --hash=sha256:{card.archive_sha256}\n")
    _run(
        [*pip, "download", "--no-deps", "--require-hashes", "--disable-pip-version-check",
         "--cache-dir", str(work / "pip"), "--dest", str(folder), "--requirement", str(wanted)],
        cwd=folder,
    )  # fmt: skip


def _debian_download(card: Card, work: Path, folder: Path) -> None:
    """With the system's lists of packages if they are there and fresh, else with our own."""
    apt, _ = _program("apt-get"), _program("dpkg-deb")
    state, cache = work / "state", work / "cache"
    for part in (state / "lists" / "partial", cache / "archives" / "partial"):
        part.mkdir(parents=True)
    apt_get = [apt, "-o", "APT::Sandbox::User=root", "-o", f"Dir::Cache={cache}"]
    try:
        _run([*apt_get, "download", card.package], cwd=folder)
    except OrreryError:
        apt_get += ["-o", f"Dir::State::lists={state / 'lists'}"]
        _run([*apt_get, "-o", "APT::Update::Error-Mode=any", "update"], cwd=folder)
        _run([*apt_get, "download", card.package], cwd=folder)


def _npm_download(card: Card, work: Path, folder: Path) -> None:
    npm = _program("npm")
    _run(
        [npm, "pack", f"{card.package}@{card.version}", "--ignore-scripts", "--loglevel=error",
         "--logs-max=0", "--no-update-notifier", "--fetch-retry-maxtimeout=10000",
         "--cache", str(work / "npm")],
        cwd=folder,
    )  # fmt: skip


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise OrreryError(f"{name} is not on this machine")
    return found


def _run(command: Sequence[str], cwd: Path) -> str:
    """What the command printed.

    Raises:
        OrreryError: it failed or ran too long; carries the first error it wrote.
    """
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, errors="replace", env=os.environ | {"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OrreryError(f"{command[0]} ran longer than {PATIENCE_SECONDS} seconds") from error
    if done.returncode:
        said = (done.stderr or done.stdout or "no message").strip()
        line = _ERROR.search(said)
        reason = line[0] if line else said.splitlines()[-1]
        raise OrreryError(f"{Path(command[0]).name} failed: {reason.strip()}")
    return done.stdout
