"""One look for every figure: sizes, colours that the colour-blind can tell apart, quiet axes."""

import io
from typing import Any

from cycler import cycler
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = (
    "#3567b0", "#d1495b", "#2a9d6f", "#e3a32b", "#7b55a6", "#4aa8c0", "#8a5a44", "#6b7280",
)  # fmt: skip
INK = "#23262d"
STYLE = {
    "font.size": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.prop_cycle": cycler(color=COLOURS), "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#9aa0aa", "axes.labelcolor": INK, "text.color": INK,
    "axes.titlelocation": "left", "axes.grid": True, "grid.color": "#e6e8ec",
    "grid.linewidth": 0.7, "axes.axisbelow": True, "xtick.color": "#5b616b",
    "ytick.color": "#5b616b", "legend.frameon": False, "legend.fontsize": 8.5,
    "lines.linewidth": 1.8, "figure.facecolor": "white", "svg.fonttype": "path",
    "svg.hashsalt": "orrery", "figure.dpi": 110,
}  # fmt: skip


def new_figure(
    width: float = 7.2, height: float = 3.6, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure in the house style and its axes, row by row; sizes in inches.

    Args:
        width: of the figure.
        height: of the figure.
        rows: of axes.
        columns: of axes.
        options: `sharex`, `sharey`, as in matplotlib's `Figure.subplots`.
    """
    rcParams.update(STYLE)  # titles and legends, which come later, read it too
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time."""
    return _render(figure, "svg", {"Date": None, "Creator": None})


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG at 160 dots an inch."""
    return _render(figure, "png", {"Software": None})


def _render(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()
