"""What the commands that look things up share: their options and how a query is matched."""

import argparse
import difflib
from collections.abc import Callable, Iterable, Sequence

from orrery.cli.parser import Parser


def lookup_parser(command: str, summary: str, examples: tuple[str, ...]) -> Parser:
    """A parser with what every look-up takes: --json and --language."""
    parser = Parser(command, summary, examples)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "--language", type=one_of(("en", "zh")), default="en", metavar="LANGUAGE",
        help="en, or zh where a text has been translated (default: en)",
    )  # fmt: skip
    return parser


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    """An argument type: one of these words; what it refuses names them all, the nearest first."""

    def check(value: str) -> str:
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(allowed)}{hint}")
        return value

    return check


def matches(query: str, *texts: str | None) -> bool:
    """Whether every word of the query stands in one of the texts, in any case."""
    text = "\n".join(filter(None, texts)).casefold()
    return all(word in text for word in query.casefold().split())


def tally(words: Iterable[str], order: Sequence[str]) -> str:
    """Say "12 works, 469 missing": how often each word occurs, in this order."""
    words = list(words)
    counts = ((words.count(word), word) for word in order)
    return ", ".join(f"{count} {word}" for count, word in counts if count)
