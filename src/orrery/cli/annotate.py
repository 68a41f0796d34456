"""`orrery annotate SYSTEM`: its own source as one page, with notes and what its lines make."""

import difflib
from pathlib import Path

from orrery import catalog
from orrery.cli.lookup import one_of
from orrery.cli.parser import Parser, print_json
from orrery.errors import UsageError

EXAMPLES = (
    "orrery annotate transformer",
    "orrery annotate transformer --lang zh --to page.html",
    "orrery annotate gpt",
)


def main(argv: list[str]) -> int:
    """Write the page and print where it is; returns 0.

    Raises:
        UsageError: there is no such system, or the page cannot stand there.
    """
    parser = Parser("annotate", "Walk through a system's source on one page.", EXAMPLES)
    parser.add_argument("system", metavar="SYSTEM", help="stem of its file, as in orrery systems")
    add_page(parser)
    chosen = parser.parse_args(argv)
    known = catalog.systems()
    if chosen.system not in known:
        near = difflib.get_close_matches(chosen.system, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see orrery systems"
        raise UsageError(f"no system has the stem {chosen.system!r}; {hint}")

    from orrery.lab.walkthrough.annotated import write_annotated
    from orrery.lab.words import language

    path = place(chosen.to, f"annotated_{chosen.system}.html")
    page = write_annotated(known[chosen.system], chosen.language or language())
    return put(path, page, chosen.json)


def add_page(parser: Parser) -> None:
    """The options of every command that writes a page."""
    parser.add_argument(
        "--to", metavar="FILE", type=Path, help="where the page goes (default: home)"
    )
    parser.add_argument(
        "--language", "--lang", type=one_of(("en", "zh")), metavar="LANGUAGE",
        help="en or zh (default: the reader's)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print an object")


def place(wish: Path | None, name: str) -> Path:
    """Where a page goes: `name` in the home folder if there is no wish.

    Raises:
        UsageError: its folder does not exist, or it is a folder.
    """
    if wish is None:
        from orrery.home import home

        return home() / name
    if wish.is_dir() or not wish.absolute().parent.is_dir():
        raise UsageError(f"--to must be a file in a folder that exists, got {wish}")
    return wish


def put(path: Path, page: str, as_json: bool) -> int:
    """Write a page and print where it is; returns 0."""
    from orrery.files import write_atomically

    write_atomically(path, page)
    if as_json:
        print_json({"page": str(path)})
    else:
        print(path)
    return 0
