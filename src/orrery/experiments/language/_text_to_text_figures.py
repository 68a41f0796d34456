"""The figure of the text-to-text experiment."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from orrery.experiments.language._prefixed import TASKS
from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds


def pictured(results: Sequence[Measured], kinds: Sequence[str]) -> Figure:
    """Tokens right of each task: of one model by its prefix, and of all after few examples."""
    figure, axes = new_figure(8.4, 3.2, columns=2, sharey=True)
    one = {"one": "its own prefix", "misled": "another task's prefix"}
    starts = ("from scratch", "pre-trained")
    few = {f"{kind} {s}": f"{kind.upper()} {s}" for kind in kinds for s in starts}
    pages = ((one, "One T5 for all tasks"), (few, "After few examples"))
    for axis, (arms, title) in zip(axes, pages, strict=True):
        for i, (arm, label) in enumerate(arms.items()):
            mean, half = over_seeds(results, [f"{arm}/{task}/tokens" for task in TASKS])
            places = [k + 0.8 * i / len(arms) for k in range(len(TASKS))]
            axis.bar(places, mean, 0.76 / len(arms), yerr=half, color=COLOURS[i],
                     ecolor="#9aa0aa", label=label)  # fmt: skip
        axis.set_xticks([k + 0.4 - 0.4 / len(arms) for k in range(len(TASKS))], TASKS)
        axis.set(title=title, ylim=(0, 1))
        axis.legend()
    axes[0].set_ylabel("share of tokens right")
    return figure
