"""The data that `unfold` maps, the maps it keeps, and the page that shows them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import digits, manifolds
from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.embedding import (
    continuity,
    distance_correlation,
    neighbour_recall,
    trustworthiness,
)

Points = Float[np.ndarray, "n d"]
Map = Float[np.ndarray, "m 2"]
Colours = Float[np.ndarray, " n"] | Int[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Points, what colours them, and, of a surface, where they lie on it."""

    title: str
    points: Points
    colours: Colours
    intrinsic: Map | None = None
    """Where the points lie on the surface, then where the new ones do."""
    new: Float[np.ndarray, "new _"] = field(default_factory=lambda: np.empty((0, 3)))
    """Further points, to be added to a map."""

    def score(self, map_: Map) -> Measured:
        """How faithful a map of the points is; of a surface, also to distances along it."""
        n = len(self.points)
        found = {
            "trust": trustworthiness(self.points, map_),
            "continuity": continuity(self.points, map_),
            "recall": neighbour_recall(self.points, map_),
            "global": distance_correlation(self.points, map_),
        }
        if self.intrinsic is not None:
            found["geodesic"] = distance_correlation(self.intrinsic[:n], map_)
        return found

    def score_new(self, map_: Map) -> float:
        """How well a map of the new points keeps distances along the surface."""
        assert self.intrinsic is not None
        return distance_correlation(self.intrinsic[len(self.points) :], map_)


def roll(count: int, random: np.random.Generator) -> Data:
    """A Swiss roll, and a quarter as many further points of it."""
    surface = manifolds.swiss_roll(count + count // 4, random)
    points = surface.points[:count]
    return Data(
        title="Swiss roll", points=points, colours=surface.intrinsic[:count, 0],
        intrinsic=surface.intrinsic, new=surface.points[count:],
    )  # fmt: skip


def plane(count: int, random: np.random.Generator) -> Data:
    """A flat square sheet that stands askew in space."""
    sheet = random.uniform(0.0, 30.0, size=(count, 2))
    axes, _ = np.linalg.qr(random.normal(size=(3, 3)))
    points = sheet @ axes[:2]
    return Data(title="Flat sheet", points=points, colours=sheet[:, 0], intrinsic=sheet)


def handwriting(count: int, random: np.random.Generator) -> Data:
    """Some of scikit-learn's digits, 64 pixels of 0 to 1 each."""
    parts = digits.load()
    images = np.concatenate([part.images for part in parts]).reshape(-1, 64) / 16.0
    labels = np.concatenate([part.labels for part in parts])
    chosen = np.sort(random.choice(len(images), count, replace=False))
    return Data(title="Digits", points=images[chosen], colours=labels[chosen])


class Atlas:
    """The maps drawn so far and their scores, kept in checkpoints."""

    def __init__(self) -> None:
        self.maps: dict[str, Tensor] = {}
        self.scores: Measured = {}

    def keep(self, name: str, map_: Map, scores: Measured) -> None:
        """Add a map."""
        self.maps[name] = torch.from_numpy(np.ascontiguousarray(map_))
        self.scores |= {f"{name}/{key}": value for key, value in scores.items()}

    def state_dict(self) -> dict[str, Any]:
        """All maps and scores."""
        return {"maps": dict(self.maps), "scores": dict(self.scores)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self.maps, self.scores = dict(state["maps"]), dict(state["scores"])


def page(atlas: Atlas, sets: dict[str, Data], methods: Mapping[str, str]) -> Figure:
    """A row for each data set, a column for each method (by its title), after a first look."""
    columns = len(methods) + 1
    figure, axes = new_figure(2.0 * columns, 2.05 * len(sets), len(sets), columns)
    for row, (name, data) in enumerate(sets.items()):
        first, *others = axes[row * columns : (row + 1) * columns]
        look(first, data)
        key = "recall" if data.intrinsic is None else "geodesic"
        for axis, (method, title) in zip(others, methods.items(), strict=True):
            spots(axis, atlas.maps[f"{name}/{method}"].numpy(), data)
            axis.set_title(f"{title}  {atlas.scores[f'{name}/{method}/{key}']:.2f}")
    figure.suptitle(
        "Above each map: rank correlation with distances along the sheet; of digits, the share of"
        " the 15 nearest neighbours kept", fontsize=9,
    )  # fmt: skip
    return figure


def look(axis: Axes, data: Data) -> None:
    """The data without any method: points in space seen from above the side, or 36 pictures."""
    if data.intrinsic is not None:
        x, y, z = data.points.T
        spots(axis, np.column_stack([x + 0.25 * y, z + 0.35 * y]), data)
    else:
        pictures = np.pad(data.points[:36].reshape(6, 6, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        axis.imshow(pictures.swapaxes(1, 2).reshape(60, 60), cmap="gray_r")
        plain(axis)
    axis.set_title(data.title)


def spots(axis: Axes, places: Map, data: Data) -> None:
    """The points at these places, in their colours."""
    colours = "tab10" if data.intrinsic is None else "viridis"
    across, up = places.T
    axis.scatter(across, up, c=data.colours, cmap=colours, s=3, linewidths=0, rasterized=True)
    axis.set_aspect("equal", adjustable="datalim")
    plain(axis)


def plain(axis: Axes) -> None:
    """Without scales and frame: a map has none."""
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)


def scores(results: Sequence[Measured], methods: Mapping[str, str], digits: int) -> Figure:
    """What each method keeps, and its time, with intervals over the seeds."""
    figure, (kept, near, times) = new_figure(10.0, 3.3, columns=3)
    bars = (
        (kept, "roll", "geodesic", "Roll: distances along it", "rank correlation"),
        (near, "digits", "recall", "Digits: neighbours kept", "share of the 15 nearest"),
        (times, "digits", "seconds", f"Time for {digits:,} digits", "seconds"),
    )
    for axis, data, key, title, unit in bars:
        mean, half = over_seeds(results, [f"{data}/{method}/{key}" for method in methods])
        axis.bar(list(methods.values()), mean, yerr=half, color=COLOURS[: len(methods)], capsize=3)
        axis.set(title=title, ylabel=unit)
        axis.grid(visible=False, axis="x")
    times.set_yscale("log")
    return figure
