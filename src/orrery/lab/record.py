"""From full runs to a record: the experiment as it is, and with each key idea removed."""

import time
from pathlib import Path

from orrery.errors import OrreryError
from orrery.files import read_json, write_atomically
from orrery.lab.claim import Control
from orrery.lab.experiment import Runnable
from orrery.lab.launch import Outcome, read_seconds
from orrery.plan.record import Judgement, Record


def make_record(experiment: Runnable, main: Outcome, ablated: dict[str, Outcome]) -> Record:
    """The record of a run and its ablations; nothing in it is typed by hand."""
    order = main.run.order
    around = read_json(main.run.folder / "environment.json")
    controls, verdicts = split(experiment, main.verdicts)
    return Record(
        schema=1,
        area=experiment.area, stem=experiment.stem, question=experiment.question,
        scale=order.scale, settings=order.settings, seeds=order.seeds,
        commit=around["commit"], created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=around["machine"], versions=around["versions"],
        seconds=round(sum(read_seconds(main.run).values()), 1),
        controls=tuple(controls), verdicts=tuple(verdicts),
        ablations={
            name: tuple(split(experiment, outcome.verdicts)[1]) for name, outcome in ablated.items()
        },
        measured=tuple(main.measured),
    )  # fmt: skip


def split(experiment: Runnable, judged: list[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """Controls, and claims with findings; in the order of the experiment's CLAIMS."""
    pairs = list(zip(experiment.claims, judged, strict=True))
    return (
        [j for q, j in pairs if isinstance(q, Control)],
        [j for q, j in pairs if not isinstance(q, Control)],
    )


def check_record(record: Record) -> None:
    """Refuse a record whose controls fail or whose main claim survives an ablation.

    Raises:
        OrreryError: names the control or the ablation.
    """
    for control in record.controls:
        if control.verdict != "holds":
            raise OrreryError(f"{record.stem}: the control does not hold: {control.text}")
    for name, verdicts in record.ablations.items():
        if verdicts[0].verdict == "holds":
            raise OrreryError(
                f"{record.stem}: under {name} the main claim holds still: {verdicts[0].text}"
            )


def write_record(record: Record, folder: Path) -> Path:
    """Write `<folder>/<area>/<stem>.json`; returns its path."""
    path = folder / record.area / f"{record.stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, record.model_dump_json(indent=1, by_alias=True) + "\n")
    return path
