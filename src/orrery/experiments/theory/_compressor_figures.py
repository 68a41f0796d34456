"""Figures and table of `lm_compressor`."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from orrery.experiments.theory._classics import CLASSICS
from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.statistics import estimate

ARMS = {
    "gpt+weights": "GPT, weights counted",
    **{name: name for name in CLASSICS},
    "mixing": "context mixing",
    **{f"{name}+past": f"{name}, with a past" for name in CLASSICS},
    "mixing+past": "context mixing, with a past",
    "gpt": "GPT, weights free",
}


def rows(measured: Measured) -> list[dict[str, object]]:
    """Bits a character: an arm a row, a text a column."""
    texts = [key.removesuffix("/gpt") for key in measured if key.endswith("/gpt")]
    return [
        {"compressor": label} | {text: round(measured[f"{text}/{arm}"], 4) for text in texts}
        for arm, label in ARMS.items()
    ]


def sizes(results: Sequence[Measured], texts: Sequence[str]) -> Figure:
    """A dot an arm, with its interval over the seeds; an arrow where it lies far outside."""
    figure, axes = new_figure(8.4, 4.2, columns=len(texts), sharey=True)
    for axis, text in zip(axes, texts, strict=True):
        found = {arm: estimate([m[f"{text}/{arm}"] for m in results], 0.0) for arm in ARMS}
        widest = 1.3 * max(one.mean for arm, one in found.items() if arm != "gpt+weights")
        for place, (arm, one) in enumerate(found.items()):
            colour = COLOURS[1 if arm.startswith("gpt") else 2 if "mixing" in arm else 0]
            if one.mean > widest:
                axis.text(widest, place, f"{one.mean:,.0f} \u2192", color=colour, ha="right",
                          va="center", fontsize=8)  # fmt: skip
                continue
            half = one.high - one.mean if math.isfinite(one.high) else 0.0
            axis.errorbar(one.mean, place, xerr=half, fmt="o", color=colour, capsize=3)
            axis.annotate(
                f"{one.mean:.2f}", (one.mean + half, place), (6, 0), textcoords="offset points",
                va="center", fontsize=8,
            )  # fmt: skip
        axis.set_xlim(0, widest)
        axis.set_title(text.replace("_", " ").capitalize())
        axis.set_xlabel("bits a character")
    axes[0].set_yticks(range(len(ARMS)), list(ARMS.values()))
    return figure


def agreement(results: Sequence[Measured], texts: Sequence[str]) -> Figure:
    """Coded size against cross-entropy: every point on the diagonal, at every stage."""
    figure, axes = new_figure(7.2, 3.6, columns=2)
    for colour, text in zip(COLOURS, texts, strict=False):
        stages = [key for key in results[0] if key.startswith(f"{text}/entropy/")]
        entropy = np.array([[m[key] for key in stages] for m in results])
        coded = np.array([[m[key.replace("entropy", "coded")] for key in stages] for m in results])
        label = text.replace("_", " ")
        axes[0].plot(entropy.ravel(), coded.ravel(), "o", color=colour, label=label, alpha=0.7)
        excess = 100 * (coded / entropy - 1)
        axes[1].plot(entropy.ravel(), excess.ravel(), "o", color=colour, alpha=0.7)
    ends = np.array(axes[0].get_xlim())
    axes[0].plot(ends, ends, color=COLOURS[-1], linewidth=1, zorder=0)
    axes[0].set_ylabel("coded, bits a character")
    axes[0].set_title("Predicting is compressing")
    axes[0].legend()
    axes[1].set_ylabel("excess of the coded size, %")
    axes[1].set_title("What the coder adds")
    for axis in axes:
        axis.set_xlabel("cross-entropy, bits a character")
    return figure
