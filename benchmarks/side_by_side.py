"""Side by side: contestants interleaved in one process, outputs compared before time counts.

A goal is a ratio, ours over the best peer, inside one run: absolute times on a shared machine
mean little. Each sample is metered for how much CPU other processes used meanwhile; the median
of the uncontended samples counts.
"""

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

QUIET = 0.08  # share of the machine others may use in a sample that still counts


@dataclass(frozen=True)
class Sample:
    seconds: float
    others: float
    """Share of all cores that other processes used meanwhile."""


@dataclass
class Timing:
    """The samples of one contestant."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def clean(self) -> list[float]:
        return [s.seconds for s in self.samples if s.others < QUIET]

    @property
    def contended(self) -> bool:
        return len(self.clean) < 3

    @property
    def seconds(self) -> float:
        """Median of the uncontended samples; the least sample where there are too few."""
        if self.contended:
            return min(s.seconds for s in self.samples)
        return statistics.median(self.clean)


def _busy() -> float:
    """CPU seconds used on the whole machine since it started (0 where /proc is not there)."""
    try:
        with open("/proc/stat") as stat:
            ticks = [int(x) for x in stat.readline().split()[1:9]]
    except OSError:
        return 0.0
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """CPU seconds of this process, of its children that are done and of contestants at work."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = sum(u.ru_utime + u.ru_stime for u in usages)
    return ended + sum(_used_by(child.pid) for child in multiprocessing.active_children())


def _used_by(pid: int | None) -> float:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            after_name = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def sample(work: Callable[[], Any], least_seconds: float = 0.0) -> Sample:
    """Time `work`, repeated until `least_seconds` have passed; seconds are per call."""
    busy, own, start, calls = _busy(), _own(), time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < least_seconds:
        work()
        calls += 1
    wall = time.perf_counter() - start
    others = max(0.0, ((_busy() - busy) - (_own() - own)) / (wall * (os.cpu_count() or 1)))
    return Sample(wall / calls, others)


def interleave(
    contestants: dict[str, Callable[[], Any]],
    rounds: int = 7,
    warmups: int = 1,
    least_seconds: float = 0.0,
    budget_seconds: float = 120.0,
) -> dict[str, Timing]:
    """Run A, B, C, A, B, C, ... and return each contestant's samples."""
    for work in contestants.values():
        for _ in range(warmups):
            work()
    timings = {name: Timing() for name in contestants}
    start = time.perf_counter()
    for _ in range(rounds):
        for name, work in contestants.items():
            timings[name].samples.append(sample(work, least_seconds))
        if time.perf_counter() - start > budget_seconds:
            break
    return timings


def fresh(code: str, **environment: str) -> Callable[[], None]:
    """A contestant that is a fresh Python process running `code`."""

    def work() -> None:
        subprocess.run(
            [sys.executable, "-c", code], check=True, env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    return work


def report(
    row: str, what: str, timings: dict[str, Timing], ours: str, goal: float, unit: str = "",
    work: float = 1.0, limit: float | None = None, peers: tuple[str, ...] | None = None,
) -> bool:  # fmt: skip
    """Print one JSON line: the ratio of speeds, ours over the best peer, against its goal.

    `goal` >= 1 reads "at least so many times as fast"; `work / seconds` is the rate in `unit`;
    `limit` is the machine's own limit in the same unit.
    """
    rates = {name: work / timing.seconds for name, timing in timings.items()}
    names = peers or tuple(name for name in rates if name != ours)
    best = max(names, key=lambda name: rates[name])
    ratio = rates[ours] / rates[best]
    line = {
        "row": row, "what": what, "ratio": round(ratio, 3), "goal": goal,
        "reached": ratio >= goal, "ours": round(rates[ours], 4), "best_peer": best,
        "peer": round(rates[best], 4), "unit": unit,
        "share_of_limit": round(rates[ours] / limit, 3) if limit else None,
        "contended": [name for name, timing in timings.items() if timing.contended],
        "rates": {name: round(rate, 4) for name, rate in rates.items()},
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return ratio >= goal
