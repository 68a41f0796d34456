"""`orrery plan`: the guide, by chapter, by type of entry, or along one kind of reader's path."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from orrery.cli.lookup import lookup_parser, one_of
from orrery.cli.parser import print_json
from orrery.cli.terminal import bold, print_table, print_text, say
from orrery.plan.load import Language, load
from orrery.plan.model import GuideEntry, LearningPath, Plan, PracticeTask, part_of
from orrery.plan.state import SystemState, claim_states, system_states

EXAMPLES = (
    "orrery plan",
    "orrery plan --path engineer",
    "orrery plan --type open-problem --json",
)
Step = GuideEntry | PracticeTask | SystemState


def main(argv: list[str]) -> int:
    """Show the overview, or the entries on a path or of a type; returns 0."""
    paths = tuple(load().paths)
    types = (*dict.fromkeys(entry.type for entry in load().guide.values()), "practice")
    parser = lookup_parser("plan", "Walk through the guide.", EXAMPLES)
    parser.add_argument("--path", type=one_of(paths), metavar="PATH", help=", ".join(paths))
    parser.add_argument(
        "--type", type=one_of(types), metavar="TYPE", help="kind of entry, as in debate-argument"
    )
    chosen = parser.parse_args(argv)
    plan = load(chosen.language)
    if chosen.path is None:
        steps: list[Step] = [*plan.guide.values(), *plan.practice.values()]
    else:
        steps = list(_along(plan.paths[chosen.path], plan, chosen.language))
    rows = [(step, _as_json(step)) for step in steps]
    rows = [(step, row) for step, row in rows if chosen.type in (None, row["type"])]
    if chosen.json:
        print_json([row for _, row in rows])
    elif chosen.path is None and chosen.type is None:
        _print_overview(plan, chosen.language)
    else:
        _print_steps([step for step, _ in rows])
    return 0


def _along(path: LearningPath, plan: Plan, language: Language) -> Iterator[Step]:
    """Role and goal; each block with its practice; each chapter, what it builds and practises."""
    yield plan.guide[path.role]
    yield plan.guide[path.goal]
    for block in path.blocks:
        yield plan.guide[block]
        yield from (plan.practice[id_] for id_ in plan.guide[block].links if id_ in plan.practice)
    titles = {_number(entry): entry for entry in plan.guide.values() if entry.type == "chapter"}
    for chapter in path.chapters:
        yield titles[chapter]
        for state in system_states(language).values():
            if state.plan.tier == "A" and part_of(state.plan.chapters[0]) == chapter:
                yield state
        for task in plan.practice.values():
            if chapter not in ("0", "12") and part_of(task.chapters[0]) == chapter:
                yield task  # those of chapters 0 and 12 belong to the blocks of some path


def _number(entry: GuideEntry) -> str:
    """The number of the chapter that an entry of type chapter stands for."""
    return entry.title.partition(" ")[0]


def _as_json(step: Step) -> dict[str, Any]:
    match step:
        case SystemState(plan=row):
            words = {"type": "system", "title": row.name, "content": row.what_it_must_do}
            more = {"links": row.depends_on, "state": step.state}
        case PracticeTask() as row:
            words = {"type": "practice", "title": row.task, "content": row.deliverable}
            more = {"links": row.systems}
        case GuideEntry() as row:
            words = {"type": row.type, "title": row.title, "content": row.content}
            more = {"links": row.links}
    return {"id": row.id, "chapter": ",".join(row.chapters), **words, **more}


def _print_steps(steps: list[Step]) -> None:
    for kind, group in groupby(steps, type):
        found = list(group)
        if kind is SystemState:
            print_table(
                (f"  {one.plan.id}", one.state, one.plan.name)
                for one in found
                if isinstance(one, SystemState)
            )
        for one in found:
            if isinstance(one, GuideEntry):
                say(("" if one is steps[0] else "\n") + f"{bold(one.title)}  {one.id}")
                print_text(one.content)
            elif isinstance(one, PracticeTask):
                print_text(f"- {one.id}: {one.task} {one.deliverable}", indent=2, hang=2)


def _print_overview(plan: Plan, language: Language) -> None:
    """Each chapter with what works and what is tested, then where to go on."""
    named: Counter[str] = Counter()
    works: Counter[str] = Counter()
    for system in system_states(language).values():
        chapter = part_of(system.plan.chapters[0])
        named[chapter] += 1
        works[chapter] += system.state == "works"
    claimed: Counter[str] = Counter()
    tested: Counter[str] = Counter()
    for claim in claim_states(language).values():
        chapter = part_of(claim.plan.chapters[0])
        claimed[chapter] += 1
        tested[chapter] += claim.state == "tested"
    rows: list[tuple[str, ...]] = [("chapter", "systems", "work", "claims", "tested", "")]
    for entry in (entry for entry in plan.guide.values() if entry.type == "chapter"):
        number, _, title = entry.title.partition(" ")
        counts = (str(count[number]) for count in (named, works, claimed, tested))
        rows.append((number, *counts, title))
    print_table(rows)
    say(f"\n{bold('paths')} (orrery plan --path NAME)")
    print_text(", ".join(plan.paths), indent=2)
    say(f"\n{bold('kinds of entry')} (orrery plan --type NAME)")
    types = Counter(entry.type for entry in plan.guide.values()) + Counter(
        practice=len(plan.practice)
    )
    print_text(", ".join(f"{name} {count}" for name, count in types.items()), indent=2)
