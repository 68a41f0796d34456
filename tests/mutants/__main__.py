"""Tries the mutants of the table: `make mutants`, or `python -m tests.mutants [--jobs N] [IDS]`.

Says of each whether its test kills it, writes that into docs/mutants.md, and ends with 1 where one
is not killed.
"""

import argparse
import sys
from collections import Counter

from tests.mutants.page import PAGE, absent, page
from tests.mutants.table import mutants
from tests.mutants.trial import trials


def main(arguments: list[str]) -> int:
    """Run, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("ids", nargs="*", help="of the plan; all, if none is given")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    asked = parser.parse_args(arguments)
    known = {mutant.id for mutant in mutants()}
    if unknown := sorted(set(asked.ids) - known):
        parser.error(f"no mutant of {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if asked.jobs < 1:
        parser.error(f"jobs must be at least 1, got {asked.jobs}")
    chosen = [mutant for mutant in mutants() if not asked.ids or mutant.id in asked.ids]
    print(f"{len(chosen)} mutants; first their tests, without them", flush=True)
    found = []
    for one in trials(chosen, jobs=asked.jobs):
        print(f"{one.verdict:<13} {one.mutant.id}: {one.mutant.idea}", flush=True)
        print(f"{'':<13} {one.mutant.test}: {one.why}", flush=True)
        found.append(one)
    counts = Counter(one.verdict for one in found)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    print(absent())
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page(found, before), encoding="utf-8")
    return 0 if counts.keys() == {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
