"""Figure of `text_classification`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from orrery.experiments.language._fine_tuning import CELLS
from orrery.lab import Measured
from orrery.lab.figures import COLOURS, INK, new_figure
from orrery.lab.over_seeds import over_seeds

CURVES = {"fine_tuned": "MiniLM, fine-tuned", "probe": "MiniLM, probed", "bag": "bag of words"}
SIDES = ("against", "for")


def accuracy_and_confusion(results: Sequence[Measured], labels: Sequence[int]) -> Figure:
    """Accuracy by the number of labels, and what is taken for what."""
    figure, (curves, table) = new_figure(8.4, 3.4, columns=2)
    for colour, arm in zip(COLOURS, CURVES, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{n}" for n in labels])
        curves.errorbar(labels, mean, yerr=half, color=colour, marker="o", markersize=3,
                        label=CURVES[arm])  # fmt: skip
    most = labels[-1]
    mean, half = over_seeds(results, [f"scratch/{most}"])
    curves.errorbar([most], mean, yerr=half, color=COLOURS[3], marker="s", label="random weights")
    mean, _ = over_seeds(results, ["commoner"])
    curves.axhline(mean[0], color="#9aa0aa", linestyle="--", label="always the commoner side")
    curves.set(title="Film reviews", xlabel="labels", ylabel="accuracy", xscale="log")
    curves.set_xticks(labels, [str(n) for n in labels], minor=False)
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    mean, _ = over_seeds(results, [f"confusion/fine_tuned/{most}/{i}/{j}" for i, j in CELLS])
    counts = np.reshape(mean, (2, 2))
    table.imshow(counts, cmap="Blues", vmin=0)
    for i, j in CELLS:
        colour = "white" if counts[i, j] > counts.max() / 2 else INK
        table.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour)
    table.set(title=f"Fine-tuned with {most} labels", xlabel="taken for", ylabel="is")
    table.set_xticks(range(2), SIDES)
    table.set_yticks(range(2), SIDES)
    table.grid(visible=False)
    return figure
