"""`orrery run STEM`: run an experiment over its seeds and judge its claims."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from orrery.catalog import find_experiment
from orrery.cli.parser import Parser, print_json
from orrery.errors import UsageError
from orrery.lab.folder import Order, Run, create_run

EXAMPLES = (
    "orrery run residual_depth",
    "orrery run residual_depth --scale smoke --seeds 2",
    "orrery run residual_depth --ablate no_shortcut --steps 200",
)
FAILED_CLAIM = 3
MAX_SEEDS = 1_000


def main(argv: list[str]) -> int:
    """Run; returns 0, or 3 where a claim fails under --strict."""
    parser = _parser()
    if not argv or argv[0] in ("-h", "--help"):
        parser.print_help()
        return 0
    if argv[0].startswith("-"):
        raise UsageError(f"name the experiment first: orrery run STEM {argv[0]} ...")
    stem, rest = argv[0], argv[1:]
    found = find_experiment(stem)

    from orrery.lab.experiment import load_experiment

    experiment = load_experiment(found.area, found.stem)
    _add_settings(parser, experiment.settings)
    chosen = parser.parse_args([stem, *rest])
    experiment.check_ablation(chosen.ablate)
    names = experiment.settings.model_fields
    overrides = {n: v for n in names if (v := getattr(chosen, f"set_{n}")) is not None}
    settings = experiment.at_scale(chosen.scale, overrides)
    order = Order(
        area=found.area, stem=found.stem, scale=chosen.scale,
        seeds=_seeds(chosen, experiment.default_seeds(chosen.scale)),
        settings=settings.model_dump(mode="json"), ablation=chosen.ablate, device=chosen.device,
        threads=chosen.threads, checkpoint_seconds=chosen.checkpoint_seconds,
    )  # fmt: skip
    _check_device(chosen.device)
    return execute(lambda: create_run(order), chosen)


def execute(open_run: Callable[[], Run], chosen: Any) -> int:
    """Work on a run, alone or with the processes torchrun started; returns the exit code."""
    from orrery.lab.launch import work_on, work_together
    from orrery.train import distributed

    if distributed.launched():
        outcome = work_together(open_run)
        if outcome is None:
            return 0
    else:
        progress = show(chosen.quiet or chosen.json)
        outcome = work_on(open_run(), executor(chosen.ray), chosen.workers, progress)
    return finish(outcome, as_json=chosen.json, strict=chosen.strict)


def finish(outcome: Any, *, as_json: bool, strict: bool) -> int:
    """Print what a run came to; returns its exit code."""
    run, verdicts = outcome.run, outcome.verdicts
    if as_json:
        print_json({
            "run": run.id, "folder": str(run.folder), "state": run.state,
            "verdicts": [v.model_dump() for v in verdicts], "measured": outcome.measured,
        })  # fmt: skip
    else:
        for v in verdicts:
            interval = "" if v.low is None else f" [{v.low:.4g}, {v.high:.4g}]"
            print(f"{v.verdict:>9}  {v.text}")
            print(f"           effect {v.effect:.4g}{interval}, margin {v.margin:.4g}; {v.reason}")
        print(f"report: {run.folder / 'report.html'}")
    failed = any(v.verdict == "fails" for v in verdicts)
    return FAILED_CLAIM if strict and failed else 0


def executor(ray: bool) -> Any:
    """What works on the seeds: processes of this machine, or Ray."""
    if ray:
        from orrery.lab.ray import on_ray

        return on_ray
    from orrery.lab.launch import in_processes

    return in_processes


def show(quiet: bool) -> Any:
    """What shows the run's progress."""
    from orrery.lab.progress import progress_for

    return progress_for(quiet)


def add_execution(parser: Parser) -> None:
    """The options of every command that works on runs."""
    parser.add_argument(
        "--workers", type=whole(1, 1_000), default=_cores(), metavar="N",
        help="seeds at a time (default: one a core)",
    )  # fmt: skip
    parser.add_argument("--ray", action="store_true", help="work on the seeds with Ray")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--strict", action="store_true", help="exit 3 if a claim fails")
    parser.add_argument("--json", action="store_true", help="print the outcome for machines")


def _cores() -> int:
    """Cores this process may use; a container or a batch job may give it a few of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole(low: int, high: int) -> Any:
    """An argument type: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: a whole number from {low} to {high}")
        return value

    return parse


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds from 0 to 86400")
    return value


def _parser() -> Parser:
    from orrery.lab.scale import SCALES

    parser = Parser("run", "Run an experiment over its seeds and judge its claims.", EXAMPLES)
    parser.add_argument("stem", metavar="STEM", help="which experiment (orrery show lists them)")
    parser.add_argument("--scale", choices=SCALES, default="full", help="how large (full)")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=whole(0, 2**31 - 1), metavar="N", help="only this seed")
    seeds.add_argument("--seeds", type=whole(1, MAX_SEEDS), metavar="K", help="seeds 0 to K - 1")
    parser.add_argument("--ablate", metavar="NAME", help="remove a key idea")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps, ... or auto")
    parser.add_argument(
        "--threads", type=whole(1, 1_024), default=1, metavar="N", help="torch threads a seed (1)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=_seconds, default=15.0, metavar="S",
        help="save loops this often (15)",
    )  # fmt: skip
    add_execution(parser)
    return parser


def _add_settings(parser: Parser, settings: Any) -> None:
    group = parser.add_argument_group("settings of this experiment (full scale's defaults)")
    for name, field in settings.model_fields.items():
        unit = (field.json_schema_extra or {}).get("unit", "")
        text = " ".join((field.description or "").split()).rstrip(".")
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        note = f"{text} ({shown}{' ' + unit if unit else ''})".replace("%", "%%")
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, dest=f"set_{name}", metavar="V", help=note)


def _seeds(chosen: Any, default: int) -> tuple[int, ...]:
    if chosen.seed is not None:
        return (chosen.seed,)
    return tuple(range(chosen.seeds or default))


def _check_device(name: str) -> None:
    from orrery.train.device import pick

    try:
        pick(name)
    except ValueError as error:
        raise UsageError(str(error)) from None
