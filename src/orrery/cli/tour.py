"""`orrery tour`: ten experiments at a size of seconds, and one page of what came out."""

import sys
from typing import Any

from orrery.catalog import find_experiment
from orrery.cli.parser import Parser, print_json
from orrery.cli.run import FAILED_CLAIM, add_execution, executor, show
from orrery.errors import MissingDataError, OrreryError
from orrery.lab.folder import Order, create_run, newest_like

STOPS = (
    "optimisers", "residual_connection", "residual_depth", "residual_paths", "ddpm_formulas",
    "ddpm_steps", "char_gpt", "unfold", "chinchilla_fit", "lm_compressor",
)  # fmt: skip
"""What a tour shows in the minutes it has; any other experiment can be asked for by name."""

EXAMPLES = ("orrery tour", "orrery tour unfold optimisers", "orrery tour --fresh")


def main(argv: list[str]) -> int:
    """Run the tour; returns 0, 1 where an experiment failed or none could run, 3 under --strict."""
    parser = Parser("tour", "Run experiments at a small size; one page of verdicts.", EXAMPLES)
    parser.add_argument("stems", nargs="*", metavar="STEM", help="these experiments (default: ten)")
    parser.add_argument("--fresh", action="store_true", help="also run what this code ran before")
    add_execution(parser)
    chosen = parser.parse_args(argv)
    stems = [find_experiment(name).stem for name in chosen.stems] or list(STOPS)

    from orrery.lab.tour import write_tour

    outcomes: list[Any] = []
    failed: dict[str, str] = {}
    missing: dict[str, str] = {}
    for stem in stems:
        try:
            outcomes.append(_visit(stem, chosen))
        except MissingDataError as error:  # this machine's lack, and no fault of the experiment
            missing[stem] = str(error)
        except OrreryError as error:
            if error.exit_code != OrreryError.exit_code:
                raise
            failed[stem] = str(error)
    page = write_tour(outcomes, {**failed, **missing})
    verdicts = [v for outcome in outcomes for v in outcome.verdicts]
    if chosen.json:
        print_json({
            "report": str(page), "failed": failed, "missing": missing,
            "runs": [outcome.run.id for outcome in outcomes],
            "verdicts": [v.model_dump() for v in verdicts],
        })  # fmt: skip
    else:
        _print(outcomes, failed, missing)
        print(f"\nreport: {page}")
    if failed or not outcomes:
        return OrreryError.exit_code
    contradicted = any(v.verdict == "fails" for v in verdicts)
    return FAILED_CLAIM if chosen.strict and contradicted else 0


def _visit(stem: str, chosen: Any) -> Any:
    """What an experiment came to: gone on with or read again where this very code ran it before."""
    from orrery.lab.experiment import load_experiment
    from orrery.lab.launch import outcome_of, work_on

    experiment = load_experiment(find_experiment(stem).area, stem)
    order = Order(
        area=experiment.area, stem=stem, scale="tour",
        seeds=tuple(range(experiment.default_seeds("tour"))),
        settings=experiment.at_scale("tour", {}).model_dump(mode="json"),
    )  # fmt: skip
    run = None if chosen.fresh else newest_like(order)
    quiet = chosen.quiet or chosen.json
    if run is not None and run.state == "done":
        if not quiet:
            print(f"{run.id}: done before (--fresh runs it again)", file=sys.stderr)
        return outcome_of(run)
    return work_on(run or create_run(order), executor(chosen.ray), chosen.workers, show(quiet))


def _print(outcomes: list[Any], failed: dict[str, str], missing: dict[str, str]) -> None:
    for outcome in outcomes:
        print(f"\n{outcome.run.order.stem}")
        for v in outcome.verdicts:
            print(f"{v.verdict:>9}  {v.text}")
    for stem, reason in failed.items():
        print(f"\n{stem}: failed: {reason}")
    for stem, reason in missing.items():
        print(f"\n{stem}: left out: {reason}")
