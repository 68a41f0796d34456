"""`orrery report RUN`: make a run's page anew and say where it is."""

from orrery.cli.parser import Parser, print_json


def main(argv: list[str]) -> int:
    """Write the page; returns 0."""
    parser = Parser("report", "Make a run's page anew.", ("orrery report residual_depth-2026",))
    parser.add_argument("run", metavar="RUN", help="its name, or how its name begins")
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)

    from orrery.errors import OrreryError
    from orrery.lab.experiment import load_experiment
    from orrery.lab.folder import find_run
    from orrery.lab.report import write_report

    run = find_run(chosen.run)
    if run.state != "done":
        raise OrreryError(f"run {run.id} is {run.state}: it has no verdicts to report yet")
    path = write_report(run, load_experiment(run.order.area, run.order.stem))
    if chosen.json:
        print_json({"run": run.id, "report": str(path)})
    else:
        print(path)
    return 0
