"""`orrery systems`: what the plan names, and which of it works here."""

from collections.abc import Iterable

from orrery.cli.lookup import lookup_parser, matches, one_of, tally
from orrery.cli.parser import print_json
from orrery.cli.terminal import print_table, say
from orrery.plan.model import AREAS, TIERS
from orrery.plan.state import SYSTEM_STATES, SystemState, system_states

EXAMPLES = (
    "orrery systems diffusion",
    "orrery systems --area manifold --state works",
    "orrery systems --tier A --json",
)


def main(argv: list[str]) -> int:
    """List the systems that match; returns 0."""
    parser = lookup_parser("systems", "List the systems of the plan and their state.", EXAMPLES)
    parser.add_argument("query", nargs="*", help="words to find in id, name, file or description")
    parser.add_argument("--area", type=one_of(AREAS), metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--tier", type=one_of(TIERS), metavar="TIER", help=", ".join(TIERS))
    parser.add_argument(
        "--state", type=one_of(SYSTEM_STATES), metavar="STATE", help=", ".join(SYSTEM_STATES)
    )
    chosen = parser.parse_args(argv)
    found = [
        one
        for one in _search(" ".join(chosen.query), system_states(chosen.language).values())
        if chosen.area in (None, one.plan.area)
        and chosen.tier in (None, one.plan.tier)
        and chosen.state in (None, one.state)
    ]
    if chosen.json:
        print_json([as_json(one) for one in found])
        return 0
    print_table(
        (one.plan.id, one.plan.area, one.plan.tier, one.state, str(one.plan.year), one.plan.name)
        for one in found
    )
    say(f"{len(found)} systems: {tally((one.state for one in found), SYSTEM_STATES) or 'none'}")
    return 0


def as_json(one: SystemState) -> dict[str, object]:
    """A system for machines."""
    return {
        "id": one.plan.id,
        "name": one.plan.name,
        "area": one.plan.area,
        "tier": one.plan.tier,
        "kind": one.plan.kind,
        "year": one.plan.year,
        "chapter": ",".join(one.plan.chapters),
        "state": one.state,
        "stem": one.file.system.stem if one.file else None,
        "file": one.file.file if one.file else None,
        "tests": list(one.file.tests) if one.file else [],
        "experiments": [experiment.stem for experiment in one.experiments],
        "records": [record.file for record in one.records],
        "depends_on": list(one.plan.depends_on),
        "what_it_must_do": one.plan.what_it_must_do,
        "entry": one.plan.entry,
    }


def _search(query: str, states: Iterable[SystemState]) -> list[SystemState]:
    """Those whose names hold the query; if there are none, those whose description does."""
    states = list(states)
    by_name = [one for one in states if matches(query, *_names(one))]
    return by_name or [
        one for one in states if matches(query, *_names(one), one.plan.what_it_must_do)
    ]


def _names(one: SystemState) -> tuple[str, ...]:
    file = (one.file.system.stem, one.file.system.title) if one.file else ()
    return one.plan.id, one.plan.name, *file
