"""`orrery doctor`: what this machine and installation have, and what will be degraded."""

import importlib
import importlib.metadata
import shutil
import sqlite3
import sys
from importlib.util import find_spec

from orrery import __version__
from orrery.cli.parser import Parser, print_json
from orrery.errors import OrreryError
from orrery.home import home

OPTIONAL = {
    "ray": "orrery run --ray",
    "umap": "side-by-side times of UMAP",
    "openTSNE": "side-by-side times of t-SNE",
}
CLIENTS = {"npm": "npm", "debian": "apt-get"}
LEAST_DISK_GIB = 2.0

Facts = dict[str, object]


def main(argv: list[str]) -> int:
    """Print the findings; returns 1 on a broken installation."""
    parser = Parser("doctor", "Check this machine and installation.", ("orrery doctor --json",))
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)
    facts, problems = examine()
    notes = [] if problems else [*_optional(), *_data()]
    if chosen.json:
        print_json({"facts": facts, "problems": problems, "notes": notes})
        return 1 if problems else 0
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<18} {_text(value)}")
    for note in notes:
        print(f"note: {note}")
    for problem in problems:
        print(f"problem: {problem}")
    print("broken: see the problems above" if problems else "all is well")
    return 1 if problems else 0


def examine() -> tuple[Facts, list[str]]:
    """What is here, and what must be mended."""
    facts: Facts = {"orrery": __version__, "python": sys.version.split()[0]}
    problems = _requirements()
    for part in (_folder, _machine, _products):
        try:
            facts |= part()
        except OrreryError as error:
            problems.append(str(error))
        except Exception as error:  # whatever is broken here is what a reader must learn
            problems.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return facts, list(dict.fromkeys(problems))


def _requirements() -> list[str]:
    """One line for each package that is missing or too old for what orrery asks for."""
    try:
        from packaging.requirements import Requirement

        asked = importlib.metadata.requires("orrery-lab") or []
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        return [f"orrery is not installed whole: {error}; install it again"]
    problems = []
    for line in map(Requirement, asked):
        if line.marker is not None and not line.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(line.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{line.name} is not installed; orrery needs {line}")
            continue
        if not line.specifier.contains(found, prereleases=True):
            problems.append(f"{line.name} {found} is installed; orrery needs {line}")
    return problems


def _folder() -> Facts:
    """Where everything is kept, and how much room there is.

    Raises:
        OrreryError: nowhere to write, or too little room.
    """
    free = shutil.disk_usage(home()).free / 2**30
    if free < LEAST_DISK_GIB:
        raise OrreryError(f"{home()} has {free:.1f} GiB free; runs want {LEAST_DISK_GIB:g} GiB")
    return {"home": str(home()), "free_gib": round(free, 1), "sqlite": sqlite3.sqlite_version}


def _machine() -> Facts:
    """Versions and hardware, known once everything the lab imports has been imported."""
    for module in ("orrery.lab.launch", "orrery.train.compiled"):
        importlib.import_module(module)
    from orrery.lab.environment import machine
    from orrery.lab.versions import versions
    from orrery.train.device import pick

    return {**versions(), **machine(), "device": str(pick("auto"))}


def _products() -> Facts:
    """Which matrix products are fast here."""
    from orrery.train import precision

    return precision.describe()


def _optional() -> list[str]:
    return [f"{name} is not installed: no {use}" for name, use in OPTIONAL.items()
            if find_spec(name) is None]  # fmt: skip


def _data() -> list[str]:
    """A note for each client that is not here, naming the data sets that it alone can fetch."""
    from orrery.data.clients import installed_folder
    from orrery.data.fetch import is_present
    from orrery.data.sets import CARDS

    notes = []
    for manager, client in CLIENTS.items():
        wanted = [
            card.name
            for card in CARDS.values()
            if card.manager == manager and not (is_present(card) or installed_folder(card))
        ]
        if wanted and shutil.which(client) is None:
            notes.append(f"{client} is not on this machine: no data set {', '.join(wanted)}")
    return notes


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
