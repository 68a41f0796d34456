"""The tour's page: what several runs came to, in one self-contained file."""

from pathlib import Path
from typing import Any

from orrery.files import write_atomically
from orrery.home import home
from orrery.lab.environment import machine
from orrery.lab.experiment import load_experiment
from orrery.lab.launch import Outcome
from orrery.lab.report import figures_of, render, run_context
from orrery.lab.words import language

VERDICTS = ("holds", "fails", "undecided")


def write_tour(outcomes: list[Outcome], missing: dict[str, str]) -> Path:
    """Write tour.html in the home folder; returns its path.

    Args:
        outcomes: of the runs, in the order they are shown.
        missing: why other experiments could not run, by stem.
    """
    judged = [v for outcome in outcomes for v in outcome.verdicts]
    runs = [_run(outcome) for outcome in outcomes]
    page = render(
        "tour.html", runs=runs, missing=missing, seconds=sum(run["seconds"] for run in runs),
        counts={word: sum(v.verdict == word for v in judged) for word in VERDICTS},
        processor=machine()["processor"],
    )  # fmt: skip
    path = home() / "tour.html"
    write_atomically(path, page)
    return path


def _run(outcome: Outcome) -> dict[str, Any]:
    run = outcome.run
    experiment = load_experiment(run.order.area, run.order.stem)
    context = run_context(run, experiment, language())
    link = run.folder.relative_to(home()) / "report.html"
    return {**context, "figures": figures_of(run) or context["figures"][:1], "link": str(link)}
