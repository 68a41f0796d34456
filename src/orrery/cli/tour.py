"""`orrery tour`: every experiment at a size of seconds, and one page of what came out."""

from orrery.catalog import experiments
from orrery.cli.parser import Parser, print_json
from orrery.cli.run import FAILED_CLAIM, add_execution, executor, show

EXAMPLES = ("orrery tour", "orrery tour unfold optimisers")


def main(argv: list[str]) -> int:
    """Run the tour; returns 0, 1 where an experiment could not run, 3 under --strict."""
    parser = Parser("tour", "Run every experiment at a small size; one page of verdicts.", EXAMPLES)
    parser.add_argument("stems", nargs="*", metavar="STEM", help="only these (default: all)")
    add_execution(parser)
    chosen = parser.parse_args(argv)
    found = experiments()
    from orrery.catalog import find_experiment

    names = [find_experiment(stem).stem for stem in chosen.stems] or list(found)

    from orrery.errors import OrreryError
    from orrery.lab.experiment import load_experiment
    from orrery.lab.folder import Order, create_run
    from orrery.lab.launch import Outcome, work_on
    from orrery.lab.tour import write_tour

    outcomes: list[Outcome] = []
    missing: dict[str, str] = {}
    for stem in names:
        experiment = load_experiment(found[stem].area, stem)
        order = Order(
            area=experiment.area, stem=stem, scale="tour",
            seeds=tuple(range(experiment.default_seeds("tour"))),
            settings=experiment.at_scale("tour", {}).model_dump(mode="json"),
        )  # fmt: skip
        quiet = chosen.quiet or chosen.json
        try:
            outcome = work_on(create_run(order), executor(chosen.ray), chosen.workers, show(quiet))
        except OrreryError as error:
            if error.exit_code != 1:
                raise
            missing[stem] = str(error)
            continue
        outcomes.append(outcome)
    page = write_tour(outcomes, missing)
    verdicts = [v for outcome in outcomes for v in outcome.verdicts]
    if chosen.json:
        print_json({
            "report": str(page), "missing": missing,
            "runs": [outcome.run.id for outcome in outcomes],
            "verdicts": [v.model_dump() for v in verdicts],
        })  # fmt: skip
    else:
        for outcome in outcomes:
            print(f"\n{outcome.run.order.stem}")
            for v in outcome.verdicts:
                print(f"{v.verdict:>9}  {v.text}")
        for stem, reason in missing.items():
            print(f"\n{stem}: could not run: {reason}")
        print(f"\nreport: {page}")
    if missing:
        return 1
    failed = any(v.verdict == "fails" for v in verdicts)
    return FAILED_CLAIM if chosen.strict and failed else 0
