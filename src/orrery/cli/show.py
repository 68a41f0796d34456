"""`orrery show NAME`: everything known about one system, experiment or row of the plan."""

import difflib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from orrery import catalog
from orrery.catalog import ExperimentFile, SystemFile
from orrery.cli import claims, systems
from orrery.cli.lookup import lookup_parser
from orrery.cli.parser import print_json
from orrery.cli.terminal import paint, print_field, print_text, say
from orrery.errors import UsageError
from orrery.files import read_json
from orrery.plan.load import Language, load
from orrery.plan.model import GuideEntry, Plan, PracticeTask
from orrery.plan.state import ClaimState, SystemState, claim_states, system_states

EXAMPLES = (
    "orrery show ddim",
    "orrery show residual_depth",
    "orrery show relu-6x --json",
)
Item = SystemState | SystemFile | ExperimentFile | ClaimState | PracticeTask | GuideEntry


def main(argv: list[str]) -> int:
    """Show all that has the name; returns 0.

    Raises:
        UsageError: nothing has that name; names the nearest ones.
    """
    parser = lookup_parser("show", "Show everything known about one name.", EXAMPLES)
    parser.add_argument("name", help="stem of a system or experiment, or any id of the plan")
    chosen = parser.parse_args(argv)
    plan = load(chosen.language)
    found = list(_find(chosen.name, plan, chosen.language))
    if not found:
        names = {*plan.rows, *catalog.systems(), *catalog.experiments()}
        near = difflib.get_close_matches(chosen.name, sorted(names), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see orrery systems"
        raise UsageError(f"nothing is called {chosen.name!r}; {hint}")
    if chosen.json:
        print_json([_as_json(one) for one in found])
        return 0
    for one in found:
        _print(one, plan)
    return 0


def _find(name: str, plan: Plan, language: Language) -> Iterator[Item]:
    """The plan's row of that id, then the system's file and the experiment of that stem."""
    if name in plan.systems:
        yield system_states(language)[name]
    if name in plan.claims:
        yield claim_states(language)[name]
    if name in plan.practice:
        yield plan.practice[name]
    if name in plan.guide:
        yield plan.guide[name]
    file = catalog.systems().get(name)
    if file is not None and name not in file.system.realises:
        yield file
    if name in catalog.experiments():
        yield catalog.experiments()[name]


def _as_json(one: Item) -> dict[str, Any]:
    match one:
        case SystemState():
            return {"is": "system", **systems.as_json(one)}
        case ClaimState():
            return {"is": "claim", **claims.as_json(one), "judgement": _judgement(one)}
        case SystemFile():
            return {"is": "file", **asdict(one.system), "file": one.file, "tests": one.tests}
        case ExperimentFile():
            record = catalog.records().get(one.stem)
            return {"is": "experiment", **asdict(one), "record": record.file if record else None}
        case PracticeTask():
            return {"is": "practice", **asdict(one)}
        case GuideEntry():
            return {"is": "guide", **asdict(one)}


def _print(one: Item, plan: Plan) -> None:
    match one:
        case SystemState():
            _print_system(one, plan)
        case ClaimState():
            _print_claim(one)
        case SystemFile():
            _print_title(one.system.stem, one.system.title, str(one.system.year), one.system.area)
            _print_file(one)
        case ExperimentFile():
            _print_experiment(one, plan)
        case PracticeTask():
            _print_title(one.id, one.task, f"chapter {', '.join(one.chapters)}", "practice")
            print_field("deliverable", one.deliverable)
            print_field("systems", ", ".join(one.systems))
        case GuideEntry():
            _print_title(one.id, one.title, f"chapter {', '.join(one.chapters)}", one.type)
            print_text(one.content)
            print_field("links", ", ".join(one.links))


def _print_title(name: str, title: str, *facts: str) -> None:
    print_text(f"{name}: {title}")
    say(", ".join(facts))


def _print_system(one: SystemState, plan: Plan) -> None:
    chapters = f"chapter {', '.join(one.plan.chapters)}"
    facts = (str(one.plan.year), one.plan.area, f"tier {one.plan.tier}", chapters)
    _print_title(one.plan.id, one.plan.name, *facts, paint(one.state))
    print_field("must do", one.plan.what_it_must_do)
    print_field("stands for it", one.plan.entry)
    if one.file is not None:
        _print_file(one.file)
    print_field("experiments", "\n".join(f"{e.stem}: {e.question}" for e in one.experiments))
    print_field("records", ", ".join(record.file for record in one.records))
    print_field("depends on", ", ".join(one.plan.depends_on))
    needed = [row.id for row in plan.systems.values() if one.plan.id in row.depends_on]
    print_field("needed by", ", ".join(needed))
    tasks = [row.id for row in plan.practice.values() if one.plan.id in row.systems]
    print_field("practice", ", ".join(tasks))
    print_field("guide", ", ".join(r.id for r in plan.guide.values() if one.plan.id in r.links))


def _print_file(one: SystemFile) -> None:
    print_field("file", one.file)
    print_field("papers", "; ".join(one.system.papers))
    print_field("builds on", ", ".join(one.system.builds_on))
    print_field("realises", ", ".join(one.system.realises))
    print_field("tests", ", ".join(one.tests))


def _print_claim(one: ClaimState) -> None:
    verdict = (paint(one.verdict),) if one.verdict else ()
    facts = (f"chapter {', '.join(one.plan.chapters)}", one.plan.kind, paint(one.state), *verdict)
    _print_title(one.plan.id, one.plan.claim, *facts)
    judgement = _judgement(one)
    if judgement:
        print_field(
            "measured here",
            "effect {effect:.4g}, interval [{low:.4g}, {high:.4g}], must exceed {margin:g}, "
            "{seeds} seeds: {reason}".format(**judgement),
        )
    print_field("what is right", one.plan.corrected)
    print_field("source", one.plan.source)
    print_field("how it was checked", one.plan.how_checked)
    if one.plan.corrected is None:
        print_field("doubt nobody has checked yet", one.plan.suspicion)
    print_field("how to test it", one.plan.how_to_test)
    if one.experiment is not None:
        print_field("experiment", f"{one.experiment.stem}: {one.experiment.question}")
    print_field("record", one.record.file if one.record else None)


def _print_experiment(one: ExperimentFile, plan: Plan) -> None:
    _print_title(one.stem, one.question, one.area, "experiment")
    record = catalog.records().get(one.stem)
    judged = _judged(record.file) if record else {}
    for id_ in one.claims:
        verdict, tested = judged.get(id_, ("", plan.claims[id_].sentence))
        print_field(f"claim {id_} {verdict}".rstrip(), tested)
    for kind, texts in (("finding", one.findings), ("control", one.controls)):
        for text in texts:
            print_field(f"{kind} {judged.get(text, ('', ''))[0]}".rstrip(), text)
    print_field("ablations", ", ".join(one.ablations))
    print_field("file", one.file)
    print_field("record", record.file if record else None)
    print_field("run it", f"orrery run {one.stem}")


def _judged(record: str) -> dict[str, tuple[str, str]]:
    """Verdict and sentence of all that a record judges, by the claim's id or the sentence."""
    found = read_json(catalog.root() / record)
    rows = (*found["verdicts"], *found["controls"])
    return {row["id"] or row["text"]: (row["verdict"], row["text"]) for row in rows}


def _judgement(one: ClaimState) -> dict[str, Any] | None:
    """What the record says about the claim: effect, interval, margin, reason."""
    if one.record is None:
        return None
    record = read_json(catalog.root() / one.record.file)
    judged = (verdict for verdict in record["verdicts"] if verdict["id"] == one.plan.id)
    return next(judged, None)
