"""`orrery doctor`: what this machine and installation have, and what will be degraded."""

import importlib.util
import shutil
import sqlite3
import sys

from orrery import __version__
from orrery.cli.parser import Parser, print_json
from orrery.home import home

OPTIONAL = {
    "ray": "orrery run --ray",
    "umap": "side-by-side times of UMAP",
    "openTSNE": "side-by-side times of t-SNE",
}
LEAST_DISK_GIB = 2.0


def main(argv: list[str]) -> int:
    """Print the findings; returns 1 on a broken installation."""
    parser = Parser("doctor", "Check this machine and installation.", ("orrery doctor --json",))
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)
    facts, problems, notes = examine()
    if chosen.json:
        print_json({"facts": facts, "problems": problems, "notes": notes})
    else:
        for name, value in facts.items():
            print(f"{name:<16} {value}")
        for note in notes:
            print(f"note: {note}")
        for problem in problems:
            print(f"problem: {problem}")
    return 1 if problems else 0


def examine() -> tuple[dict[str, object], list[str], list[str]]:
    """Facts, problems that must be mended, and notes on what is missing but optional."""
    facts: dict[str, object] = {"orrery": __version__, "python": sys.version.split()[0]}
    problems: list[str] = []
    try:
        from orrery.lab.environment import machine, versions
        from orrery.train import precision
    except ImportError as error:
        return facts, [f"{error.name or error} cannot be imported: install orrery again"], []
    facts |= versions() | machine()
    facts |= {f"{name}": value for name, value in precision.describe().items()}
    free = shutil.disk_usage(home()).free / 2**30
    facts |= {"sqlite": sqlite3.sqlite_version, "home": str(home()), "free_gib": round(free, 1)}
    if free < LEAST_DISK_GIB:
        problems.append(f"{home()} has {free:.1f} GiB free; runs want {LEAST_DISK_GIB} GiB")
    notes = [
        f"{name} is not installed: no {use}"
        for name, use in OPTIONAL.items()
        if importlib.util.find_spec(name) is None
    ]
    notes += [
        f"{client} is not here: data sets from {source} cannot be fetched"
        for client, source in (("npm", "npm packages"), ("apt-get", "Debian packages"))
        if shutil.which(client) is None
    ]
    return facts, problems, notes
