"""Arguments of a command: argparse, with errors of one line that name the nearest valid word."""

import argparse
import difflib
import json
from collections.abc import Iterable
from typing import Any, NoReturn

from orrery.errors import UsageError


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The words nearest to `word`, or all that are allowed: the end of an error message."""
    names = list(allowed)
    close = difflib.get_close_matches(word, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from {', '.join(names)}"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` where argparse would print and exit."""

    def __init__(self, command: str, summary: str, examples: tuple[str, ...] = ()) -> None:
        super().__init__(
            prog=f"orrery {command}",
            description=summary,
            epilog="examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else "",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found, as one line.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and name the nearest option where one is unknown.

        Raises:
            UsageError: an option or a value is not allowed.
        """
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [name for action in self._actions for name in action.option_strings]
            word = unknown[0].split("=")[0]
            hint = nearest(word, options) if word.startswith("-") else "it is not expected here"
            raise UsageError(f"unknown argument {unknown[0]!r}: {hint}")
        return known


def print_json(value: object) -> None:
    """Print for machines: UTF-8 where the terminal can, escaped where it cannot."""
    print(json.dumps(value, indent=1, ensure_ascii=True))
