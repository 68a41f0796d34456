"""How long something takes, as far as that can be told on a machine that others use too."""

import time
from collections.abc import Callable, Mapping


def seconds(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least time of each, taken in turns: whatever else runs can only make it longer.

    Names gain "-seconds", which says that they are times: a run resumed has others.
    """
    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            spent = time.perf_counter() - start
            if turn:  # the first is a warm-up
                best[name] = min(spent, best.get(name, spent))
    return {f"{name}-seconds": spent for name, spent in best.items()}
