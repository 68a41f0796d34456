"""`orrery claims`: what the plan claims, what sources say, and what was measured here."""

from collections.abc import Iterable

from orrery.cli.lookup import lookup_parser, matches, one_of, tally
from orrery.cli.parser import print_json
from orrery.cli.terminal import print_table, say
from orrery.errors import UsageError
from orrery.plan.model import in_chapter, part_of
from orrery.plan.state import CLAIM_STATES, VERDICTS, ClaimState, claim_states

EXAMPLES = (
    "orrery claims --verdict fails",
    "orrery claims residual --state tested",
    "orrery claims --chapter 3.4 --json",
)


def main(argv: list[str]) -> int:
    """List the claims that match; returns 0."""
    parser = lookup_parser("claims", "List the plan's claims, sources and verdicts.", EXAMPLES)
    parser.add_argument("query", nargs="*", help="words to find in id, sentence or source")
    parser.add_argument("--chapter", metavar="C", help="chapter or section, as in 3 or 3.4")
    parser.add_argument(
        "--state", type=one_of(CLAIM_STATES), metavar="STATE", help=", ".join(CLAIM_STATES)
    )
    parser.add_argument(
        "--verdict", type=one_of(VERDICTS), metavar="VERDICT", help=", ".join(VERDICTS)
    )
    chosen = parser.parse_args(argv)
    states = claim_states(chosen.language).values()
    _check_chapter(chosen.chapter, states)
    found = [
        one
        for one in states
        if matches(" ".join(chosen.query), one.plan.id, *_texts(one))
        and (chosen.chapter is None or in_chapter(one.plan.chapters, chosen.chapter))
        and chosen.state in (None, one.state)
        and chosen.verdict in (None, one.verdict)
    ]
    if chosen.json:
        print_json([as_json(one) for one in found])
        return 0
    print_table(
        (one.plan.id, one.plan.chapters[0], one.state, one.verdict or "-", one.plan.claim)
        for one in found
    )
    say(f"{len(found)} claims: {tally((one.state for one in found), CLAIM_STATES) or 'none'}")
    return 0


def as_json(one: ClaimState) -> dict[str, object]:
    """A claim for machines."""
    return {
        "id": one.plan.id,
        "chapter": ",".join(one.plan.chapters),
        "kind": one.plan.kind,
        "state": one.state,
        "verdict": one.verdict,
        "experiment": one.experiment.stem if one.experiment else None,
        "record": one.record.file if one.record else None,
        "claim": one.plan.claim,
        "testable_small_scale": one.plan.testable_small_scale,
        "how_to_test": one.plan.how_to_test,
        "suspicion": one.plan.suspicion,
        "outcome": one.plan.outcome,
        "corrected": one.plan.corrected,
        "source": one.plan.source,
        "how_checked": one.plan.how_checked,
    }


def _texts(one: ClaimState) -> tuple[str | None, ...]:
    return one.plan.claim, one.plan.corrected, one.plan.source


def _check_chapter(chapter: str | None, states: Iterable[ClaimState]) -> None:
    every = [section for one in states for section in one.plan.chapters]
    if chapter is not None and not in_chapter(every, chapter):
        parts = sorted({part_of(section) for section in every}, key=float)
        raise UsageError(f"--chapter: no claim in {chapter!r}; chapters are {', '.join(parts)}")
