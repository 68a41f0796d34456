"""Runs every benchmark, each in a fresh process: `make bench`, or `python -m benchmarks gpt`.

Prints one JSON line a comparison (ratio, goal, share of the machine's limit) and a summary. A
figure measured while other processes were busy is marked `contended` and proves nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = ("__init__", "__main__", "side_by_side")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; returns 1 where one could not run."""
    every = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in HELPERS)
    unknown = set(names) - set(every)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}")
        return 2
    lines, broken = [], []
    for name in names or every:
        print(f"# {name}", flush=True)
        with subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True,
            cwd=HERE.parent,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for text in process.stdout:
                print(text, end="", flush=True)
                if text.startswith('{"row"'):
                    lines.append(json.loads(text))
        if process.returncode:
            broken.append(name)
    print_summary(lines)
    for name in broken:
        print(f"could not run: {name}")
    return bool(broken)


def print_summary(lines: list[dict[str, object]]) -> None:
    """A line a comparison: row, what, ratio against goal, share of the limit."""
    for line in lines:
        mark = "reached" if line["reached"] else "missed"
        share = f", {line['share_of_limit']:.0%} of the limit" if line["share_of_limit"] else ""
        busy = " (contended)" if line["contended"] else ""
        print(f"{line['row']:>4} {mark:<8} {line['ratio']:>7}x of {line['best_peer']}"
              f" (goal {line['goal']}x{share}){busy}  {line['what']}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
