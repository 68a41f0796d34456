"""docs/mutants.md: what the runs found, for reading."""

from collections.abc import Iterable
from typing import get_args

from tests.mutants.table import AREAS, TIERS, Mutant, mutants, planned, realised
from tests.mutants.trial import HOUSE, Trial, Verdict

PAGE = HOUSE / "docs" / "mutants.md"
HEAD = """\
# Mutants

For each system: its idea taken out of its file, and the test that breaks then. Written by \
`make mutants`, never by hand; the entries are in `tests/mutants/table`. *Killed* means that the \
test passes without the change and fails with it, by an assertion of its own; shape and type \
errors do not count. Each line is from the last run that tried it.

| id | system | idea removed | test that breaks | checked |
|---|---|---|---|---|
"""


def row(mutant: Mutant, verdict: str) -> str:
    """One line of the table."""
    file, _, name = mutant.test.partition("::")
    cells = (
        f"`{mutant.id}`", planned()[mutant.id].name, mutant.idea,
        f"`{name}` in `{file}`", verdict,
    )  # fmt: skip
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def page(found: Iterable[Trial], before: str) -> str:
    """The whole page; what was not tried this time stands as `before` has it."""
    tried = {one.mutant: one.verdict for one in found}
    rows = [row(one, tried.get(one) or earlier(one, before)) for one in mutants()]
    return "\n".join([f"{HEAD}{rows[0]}", *rows[1:], "", absent(), ""])


def earlier(mutant: Mutant, before: str) -> str:
    """The verdict that stands on the page, if it is on this very entry."""
    lines = before.splitlines()
    known = [verdict for verdict in get_args(Verdict) if row(mutant, verdict) in lines]
    return known[0] if known else "not tried"


def absent() -> str:
    """Which systems cannot have a mutant yet."""
    told = {id_: one for id_, one in planned().items() if id_ not in realised()}
    waiting = [id_ for id_, one in told.items() if one.entry is None]
    entries = [id_ for id_, one in told.items() if one.entry is not None]
    where = f"{' and '.join(AREAS)}, tiers {' and '.join(TIERS)}"
    return (
        f"Of the plan's systems ({where}) without a file yet, and so without a mutant: "
        f"{', '.join(waiting) or 'none'}. With an entry in place of a file: "
        f"{', '.join(entries) or 'none'}."
    )
