"""Maps of weights: a grid of squares of one colour scale, with letters or words at the sides."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from orrery.lab.figures import new_figure

Maps = Float[np.ndarray, "rows columns y x"]


def heat_maps(
    maps: Maps, labels: Sequence[str], title: str = "layer {row}, head {column}"
) -> Figure:
    """One square a map; weights from 0 to 1, their root is drawn, so that small ones show.

    Args:
        maps: rows and columns of maps.
        labels: of the y and of the x axis of every map. A blank is drawn as a dot; where the font
            lacks one of them, places are numbered instead.
        title: of each map; `{row}` and `{column}` count from 1.
    """
    rows, columns, _, _ = maps.shape
    marks = [label if label.strip() else "·" for label in labels]
    figure, axes = new_figure(2.6 * columns, 2.6 * rows, rows=rows, columns=columns)
    for i, axis in enumerate(axes):
        row, column = divmod(i, columns)
        axis.imshow(np.sqrt(maps[row, column]), cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title.format(row=row + 1, column=column + 1))
        if _can_draw("".join(marks)):
            axis.set_xticks(range(len(marks)), marks, fontsize=5)
            axis.set_yticks(range(len(marks)), marks, fontsize=5)
        axis.grid(visible=False)
    return figure


def _can_draw(text: str) -> bool:
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    return all(ord(character) in glyphs for character in text)
