"""`orrery record STEM`: a full run with every ablation, kept as records/AREA/STEM.json."""

from pathlib import Path

from orrery.catalog import find_experiment, records_folder
from orrery.cli.parser import Parser, print_json
from orrery.cli.run import add_execution, executor, show

EXAMPLES = ("orrery record residual_depth", "orrery record optimisers --to /tmp/records")


def main(argv: list[str]) -> int:
    """Run, ablate, write; returns 0, or 1 where a control fails or an ablation changes nothing."""
    parser = Parser("record", "Full run with every ablation; writes the record.", EXAMPLES)
    parser.add_argument("stem", metavar="STEM", help="which experiment")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: the project's records")
    parser.add_argument(
        "--judge-again", action="store_true",
        help="measure nothing that was measured: for claims that are worded or judged anew",
    )  # fmt: skip
    add_execution(parser)
    chosen = parser.parse_args(argv)
    found = find_experiment(chosen.stem)

    from orrery.lab.experiment import load_experiment
    from orrery.lab.folder import Order, create_run, newest_like
    from orrery.lab.launch import work_on
    from orrery.lab.record import check_record, make_record, write_record

    experiment = load_experiment(found.area, found.stem)
    settings = experiment.at_scale("full", {}).model_dump(mode="json")
    outcomes = {}
    for ablation in (None, *experiment.ablations):
        order = Order(
            area=found.area, stem=found.stem, scale="full", settings=settings,
            seeds=tuple(range(experiment.seeds)), ablation=ablation,
        )  # fmt: skip
        kept = newest_like(order, any_code=True) if chosen.judge_again else None
        run = kept or create_run(order)
        quiet = chosen.quiet or chosen.json
        outcomes[ablation] = work_on(run, executor(chosen.ray), chosen.workers, show(quiet))
    main_outcome = outcomes.pop(None)
    ablated = {name: outcome for name, outcome in outcomes.items() if name is not None}
    record = make_record(experiment, main_outcome, ablated)
    path = write_record(record, chosen.to or records_folder())
    if chosen.json:
        print_json({"record": str(path), **record.model_dump(mode="json", by_alias=True)})
    else:
        for verdict in (*record.controls, *record.verdicts):
            print(f"{verdict.verdict:>9}  {verdict.text}")
        for name, verdicts in record.ablations.items():
            print(f"{verdicts[0].verdict:>9}  ({name}) {verdicts[0].text}")
        print(f"record: {path}")
    check_record(record)
    return 0
