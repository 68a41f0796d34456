"""Figure of `char_gpt`."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.statistics import estimate


def bits_by_arm(results: Sequence[Measured], texts: Sequence[str], arms: Sequence[str]) -> Figure:
    """A bar an arm for each text, with intervals over the seeds."""
    figure, axes = new_figure(7.2, 3.2, columns=len(texts))
    for axis, text in zip(axes, texts, strict=True):
        for i, arm in enumerate(arms):
            found = estimate([m[f"{text}/{arm}"] for m in results], 0.0)
            half = found.high - found.mean if len(results) > 1 else 0.0
            axis.bar(i, found.mean, yerr=half, color=COLOURS[i], capsize=3)
            axis.text(i, found.mean + half, f"{found.mean:.2f}", ha="center", va="bottom")
        axis.set_xticks(range(len(arms)), [arm.replace("_", "\n") for arm in arms])
        axis.set_title(text.replace("_", " ").capitalize())
    axes[0].set_ylabel("bits a character, held out")
    return figure
