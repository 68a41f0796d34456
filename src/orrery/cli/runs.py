"""`orrery runs`: the runs on this machine and their state."""

import sys
from typing import Any

from orrery.cli.parser import Parser, print_json
from orrery.errors import OrreryError
from orrery.files import read_json
from orrery.lab.folder import Run, all_runs


def main(argv: list[str]) -> int:
    """List; returns 0."""
    parser = Parser("runs", "List the runs on this machine, oldest first.", ("orrery runs --json",))
    parser.add_argument("query", nargs="?", default="", help="only runs whose name holds this")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    chosen = parser.parse_args(argv)
    rows = []
    for run in all_runs():
        if chosen.query in run.id:
            try:
                rows.append(_row(run))
            except OrreryError as error:  # a damaged run hides no other
                print(f"orrery: {error}", file=sys.stderr)
    if chosen.json:
        print_json(rows)
        return 0
    for row in rows:
        counts = row["verdicts"]
        said = ", ".join(f"{n} {word}" for word, n in counts.items()) or "-"
        ablation = f" without {row['ablation']}" if row["ablation"] else ""
        print(f"{row['state']:<11} {row['scale']:<5} {row['run']}{ablation}: {said}")
    if not rows:
        print("no runs yet: orrery run residual_depth --scale smoke")
    return 0


def _row(run: Run) -> dict[str, Any]:
    order = run.order
    counts: dict[str, int] = {}
    path = run.folder / "verdicts.json"
    for verdict in read_json(path) if path.exists() else ():
        counts[verdict["verdict"]] = counts.get(verdict["verdict"], 0) + 1
    return {
        "run": run.id, "area": order.area, "stem": order.stem, "state": run.state,
        "scale": order.scale, "ablation": order.ablation, "seeds": list(order.seeds),
        "created": order.created, "folder": str(run.folder), "verdicts": counts,
    }  # fmt: skip
