"""Surfaces in space whose own coordinates are known: what a manifold learner should find.

Every generator takes the number of points and a numpy generator, and spreads the points evenly
over the surface's area. (scikit-learn's Swiss roll is even in the angle instead, which makes it
denser inside.) The shapes are scikit-learn's, so figures can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy.random import Generator

from orrery.data.card import Card

CARD = Card(
    name="manifolds",
    title="Surfaces in space",
    kind="points",
    manager="generated",
    licence="Apache-2.0",
    redistributable=True,
    stands_for="faces and digits under change of pose: few degrees of freedom in many dimensions",
    citation="Tenenbaum, de Silva, Langford 2000, doi:10.1126/science.290.5500.2319",
)

Points = Float64[np.ndarray, "n 3"]
Coordinates = Float64[np.ndarray, "n 2"]
Column = Float64[np.ndarray, " n"]

ROLL_INNER, ROLL_OUTER, ROLL_HEIGHT = 1.5 * np.pi, 4.5 * np.pi, 21.0


@dataclass(frozen=True, slots=True)
class Surface:
    """n points in space, and where each one lies on the surface."""

    points: Points
    intrinsic: Coordinates
    flat: bool
    """Whether intrinsic distances along the surface are Euclidean: it was rolled, not stretched.
    If so, a straight line between two intrinsic points is their geodesic, holes aside."""


def swiss_roll(count: int, generator: Generator, *, noise: float = 0.0) -> Surface:
    """A sheet of paper rolled into a spiral of radius = angle, from 3/2 pi to 9/2 pi.

    intrinsic: arc length along the spiral, and height.
    """
    first, last = roll_length(np.array([ROLL_INNER, ROLL_OUTER]))
    sheet = generator.uniform((first, 0.0), (last, ROLL_HEIGHT), size=(count, 2))
    return Surface(_blur(_roll(sheet), noise, generator), sheet, flat=True)


def swiss_hole(count: int, generator: Generator, *, noise: float = 0.0) -> Surface:
    """The Swiss roll with the middle ninth of its sheet cut out: not convex, so Isomap bends it."""
    first, last = roll_length(np.array([ROLL_INNER, ROLL_OUTER]))
    low, high = np.array([first, 0.0]), np.array([last, ROLL_HEIGHT])

    def outside(sheet: Coordinates) -> Bool[np.ndarray, " n"]:
        return (np.abs((sheet - low) / (high - low) - 0.5) > 1.0 / 6.0).any(axis=1)

    sheet = _keep(count, lambda size: generator.uniform(low, high, size=(size, 2)), outside)
    return Surface(_blur(_roll(sheet), noise, generator), sheet, flat=True)


def s_curve(count: int, generator: Generator, *, noise: float = 0.0) -> Surface:
    """A sheet bent into an S of two three-quarter circles of radius 1, two high.

    intrinsic: arc length from the middle of the S, and height.
    """
    sheet = generator.uniform((-1.5 * np.pi, 0.0), (1.5 * np.pi, 2.0), size=(count, 2))
    arc, height = sheet.T
    points = np.stack([np.sin(arc), height, np.sign(arc) * (np.cos(arc) - 1.0)], axis=1)
    return Surface(_blur(points, noise, generator), sheet, flat=True)


def severed_sphere(count: int, generator: Generator, *, noise: float = 0.0) -> Surface:
    """The unit sphere without its caps and without a slice: it can be opened, but not flattened.

    intrinsic: longitude from 0 to 2 pi - 0.55, and colatitude from pi/8 to 7/8 pi.
    """
    longitude = generator.uniform(0.0, 2.0 * np.pi - 0.55, size=count)
    rim = np.cos(np.pi / 8.0)
    colatitude = np.arccos(
        generator.uniform(-rim, rim, size=count)
    )  # even in the cosine: Archimedes
    points = np.stack(
        [
            np.sin(colatitude) * np.cos(longitude),
            np.sin(colatitude) * np.sin(longitude),
            np.cos(colatitude),
        ],
        axis=1,
    )
    intrinsic = np.stack([longitude, colatitude], axis=1)
    return Surface(_blur(points, noise, generator), intrinsic, flat=False)


def roll_length(angle: Column) -> Column:
    """Arc length from the centre of the spiral radius = angle."""
    return (angle * np.sqrt(1.0 + angle**2) + np.arcsinh(angle)) / 2.0


def _roll(sheet: Coordinates) -> Points:
    length, height = sheet.T
    angle = np.sqrt(2.0 * length)  # close, since the length is nearly angle^2 / 2
    for _ in range(6):  # Newton's step: the derivative of roll_length is sqrt(1 + angle^2)
        angle -= (roll_length(angle) - length) / np.sqrt(1.0 + angle**2)
    return np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)


def _keep(
    count: int,
    draw: Callable[[int], Coordinates],
    wanted: Callable[[Coordinates], Bool[np.ndarray, " n"]],
) -> Coordinates:
    """The first `count` draws that are wanted."""
    kept = np.empty((0, 2))
    while len(kept) < count:
        fresh = draw(2 * count)
        kept = np.concatenate([kept, fresh[wanted(fresh)]])
    return kept[:count]


def _blur(points: Points, spread: float, generator: Generator) -> Points:
    return points + spread * generator.standard_normal(points.shape)
