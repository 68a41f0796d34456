"""Figures of a ladder: training curves and frontier, IsoFLOP profiles, allocations."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from orrery.experiments.scaling._laws import allocate, budgets_up_to, runs_of
from orrery.lab import Measured
from orrery.lab.figures import COLOURS, INK, new_figure
from orrery.lab.statistics import estimate
from orrery.systems.scaling.chinchilla import NEIGHBOURS, parametric
from orrery.systems.scaling.kaplan import Runs, fit_kaplan

SHADES = colormaps["viridis"]
APPROACHES = {
    "envelope": "1  envelope of\ntraining curves",
    "isoflop": "2  IsoFLOP\nprofiles",
    "parametric": "3  parametric\nloss",
}


def mean_runs(results: Sequence[Measured], depth: int) -> Runs:
    """The training curves, each point the mean over the seeds."""
    curves: dict[int, dict[int, float]] = {}
    for key in results[0]:
        if key.startswith("loss/"):
            width, tokens = map(int, key.split("/")[1:])
            mean = float(np.mean([m[key] for m in results]))
            curves.setdefault(width, {})[tokens] = mean
    return runs_of(curves, {w: 12 * depth * w**2 for w in curves})


def loss_against_compute(runs: Runs, budget: float) -> Figure:
    """Every size's training curve; the laws see what is left of the line."""
    figure, (axis,) = new_figure(7.2, 4.2)
    fitted = runs.where(runs.compute <= 1.01 * budget)
    law, joint = parametric(fitted), fit_kaplan(fitted)
    for i, n in enumerate(runs.sizes):
        curve = runs.where(runs.parameters == n)
        order = np.argsort(curve.tokens)
        shade = SHADES(0.92 * i / max(1, len(runs.sizes) - 1))
        axis.plot(
            curve.compute[order], curve.loss[order], color=shade, marker=".", lw=1.3,
            label=_short(n),
        )  # fmt: skip
    compute = np.geomspace(runs.compute.min(), 2 * runs.compute.max(), 80)
    frontier = law.loss(*law.optimum(compute))
    axis.plot(compute, frontier, color=COLOURS[1], ls="--", label="Chinchilla's frontier")
    sizes = np.geomspace(runs.sizes[0], runs.sizes[-1], 60)
    best = np.min([joint.loss(np.full(80, n), compute / 6 / n) for n in sizes], axis=0)
    axis.plot(compute, best, color=INK, ls=":", label="Kaplan's frontier")
    axis.axvline(budget, color="#9aa0aa", lw=1)
    axis.text(budget, axis.get_ylim()[1], " held out ", va="top", ha="left")
    axis.text(budget, axis.get_ylim()[1], " fitted ", va="top", ha="right")
    axis.set(
        xscale="log", yscale="log", xlabel="compute C = 6 N D, operations",
        ylabel="held-out loss, nats a character",
        title="What larger networks do, and what was foretold",
    )  # fmt: skip
    _plain_ticks(axis)
    axis.legend(title="parameters N", ncols=2, fontsize=7.5)
    return figure


def isoflop_profiles(runs: Runs, budget: float) -> Figure:
    """Loss by size at equal compute, each profile's parabola, and where the three ways lead."""
    figure, (left, right) = new_figure(7.2, 3.7, columns=2)
    fitted, budgets = runs.where(runs.compute <= 1.01 * budget), budgets_up_to(budget)
    table = fitted.at_budgets(budgets)
    for i, compute in enumerate(budgets):
        shade, seen = SHADES(0.9 * i / (len(budgets) - 1)), np.isfinite(table[:, i])
        sizes, loss = fitted.sizes[seen], table[seen, i]
        left.plot(sizes, loss, color=shade, marker="o", ms=4, lw=0)
        if len(sizes) > 2:
            best = int(loss.argmin())
            near = slice(max(0, best - NEIGHBOURS), best + NEIGHBOURS + 1)
            n = np.geomspace(sizes[near][0], sizes[near][-1], 50)
            parabola = np.polynomial.Polynomial.fit(np.log(sizes[near]), loss[near], 2)
            left.plot(n, parabola(np.log(n)), color=shade, lw=1.2)
        if len(sizes):
            left.text(
                sizes[0] / 1.1, loss[0], f"{compute:.1e}".replace("e+0", "e").replace("e+", "e"),
                color=shade, fontsize=7, ha="right", va="center",
            )  # fmt: skip
    left.set(xscale="log", xlabel="parameters N", ylabel="held-out loss, nats a character",
             title="Profiles at equal compute C")  # fmt: skip
    left.set_xlim(left=0.45 * fitted.sizes[0])
    ways = allocate(fitted, budgets)
    for (name, label), colour in zip(APPROACHES.items(), COLOURS, strict=False):
        size = ways[name].parameters(budgets)[0]
        right.plot(budgets, size, color=colour, label=" ".join(label.split()[1:]))
    right.set(xscale="log", yscale="log", xlabel="compute C, operations", ylabel="parameters N",
              title="Best size for a budget")  # fmt: skip
    right.legend()
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        axis.set_minor_formatter(NullFormatter())
    for axis in (left.xaxis, right.yaxis):
        ticks = [1e3 * 2**k for k in range(12)]
        low, high = axis.get_view_interval()
        kept = [tick for tick in ticks if low <= tick <= high]
        axis.set_ticks(kept, [_short(tick) for tick in kept])
    return figure


def allocation(results: Sequence[Measured]) -> Figure:
    """The exponent a of N ~ C^a by each approach, with and without embeddings in N."""
    figure, (axis,) = new_figure(7.2, 3.2)
    for x, name in enumerate(APPROACHES):
        for key, shift, colour in (("a", -0.12, 0), ("a with embeddings", 0.12, 2)):
            values = [m[f"{name}/{key}"] for m in results]
            found = estimate(values, 0.0)
            half = found.high - found.mean if len(values) > 1 else 0.0
            axis.plot([x + shift] * len(values), values, ".", color=COLOURS[colour], alpha=0.4)
            axis.errorbar(
                x + shift, found.mean, yerr=half, fmt="o", color=COLOURS[colour], capsize=4,
                label=("N without embeddings", "N with embeddings")[shift > 0] if x == 0 else None,
            )  # fmt: skip
    for level, label in ((0.5, "half to each"), (0.73, "Kaplan et al.")):
        axis.axhline(level, color="#9aa0aa", lw=1, ls="--")
        axis.text(2.45, level, label, va="bottom", ha="right", fontsize=8)
    axis.set_xticks(range(3), APPROACHES.values())
    axis.set(xlim=(-0.5, 2.5), ylabel="exponent a", title="How the best size grows: N ~ C^a")
    axis.grid(visible=False, axis="x")
    axis.legend(loc="lower left")
    return figure


def _short(n: float) -> str:
    return f"{n / 1e3:.3g}k" if n < 1e4 else f"{n / 1e3:.0f}k" if n < 1e6 else f"{n / 1e6:.1f}M"


def _plain_ticks(axis: Axes) -> None:
    """Losses as plain numbers on a logarithmic axis."""
    low, high = axis.get_ylim()
    step = 0.1 if high - low > 0.2 else 0.01
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    axis.set_yticks(ticks, [f"{tick:.2f}" for tick in ticks])
    axis.set_yticks([], minor=True)
