"""Points in the plane whose law is known: moons, rings, spirals, mixtures, a checkerboard.

Every generator takes the number of points and a numpy generator, and draws nothing else.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.random import Generator

from orrery.data.card import Card

CARD = Card(
    name="planar",
    title="Points in the plane",
    kind="points",
    manager="generated",
    licence="Apache-2.0",
    redistributable=True,
    stands_for="image densities, where a generative model's samples can be looked at",
    citation="two_moons and circles as in scikit-learn's make_moons and make_circles",
)

Points = Float64[np.ndarray, "n 2"]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Planar:
    """n points, and which moon, ring, arm or component each one comes from."""

    points: Points
    labels: Labels


def two_moons(count: int, generator: Generator, *, noise: float = 0.05) -> Planar:
    """Two interleaved half circles of radius 1, the second one shifted by (1, 1/2)."""
    moon = generator.integers(2, size=count)
    angle = generator.uniform(0.0, np.pi, size=count)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(moon[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return Planar(_blur(points, noise, generator), moon)


def circles(
    count: int,
    generator: Generator,
    *,
    radii: tuple[float, ...] = (1.0, 0.5),
    noise: float = 0.05,
) -> Planar:
    """Circles around the origin, as many points on each."""
    ring = generator.integers(len(radii), size=count)
    points = _polar(np.asarray(radii)[ring], generator.uniform(0.0, 2.0 * np.pi, size=count))
    return Planar(_blur(points, noise, generator), ring)


def spirals(
    count: int, generator: Generator, *, arms: int = 2, turns: float = 1.5, noise: float = 0.02
) -> Planar:
    """Archimedean arms from the origin out to radius 1, a full turn divided among them.

    Raises:
        ValueError: arms is below 1.
    """
    if arms < 1:
        raise ValueError(f"arms must be at least 1, got {arms}")
    arm = generator.integers(arms, size=count)
    radius = generator.uniform(size=count)
    points = _polar(radius, 2.0 * np.pi * (turns * radius + arm / arms))
    return Planar(_blur(points, noise, generator), arm)


def gaussian_mixture(
    count: int,
    generator: Generator,
    *,
    centres: Float64[np.ndarray, "k 2"],
    spread: float = 0.1,
    weights: Float64[np.ndarray, " k"] | None = None,
) -> Planar:
    """Round Gaussians of standard deviation `spread`, as likely as the weights, or all alike."""
    component = generator.choice(len(centres), size=count, p=weights)
    return Planar(_blur(centres[component], spread, generator), component)


def ring_of_gaussians(
    count: int, generator: Generator, *, modes: int = 8, spread: float = 0.1
) -> Planar:
    """The mixture on which GANs are seen to drop modes: centres on a circle of radius 2."""
    centres = _polar(np.full(modes, 2.0), 2.0 * np.pi * np.arange(modes) / modes)
    return gaussian_mixture(count, generator, centres=centres, spread=spread)


def checkerboard(count: int, generator: Generator, *, squares: int = 4) -> Planar:
    """Uniform on the black squares of a board over [-2, 2] x [-2, 2]; the label is the row.

    Raises:
        ValueError: squares is not a positive even number.
    """
    if squares < 2 or squares % 2:
        raise ValueError(f"squares must be even and at least 2, got {squares}")
    row = generator.integers(squares, size=count)
    column = 2 * generator.integers(squares // 2, size=count) + row % 2
    corner = np.stack([column, row], axis=1)
    inside = generator.uniform(size=(count, 2))
    return Planar((corner + inside) * (4.0 / squares) - 2.0, row)


def _polar(radius: Float64[np.ndarray, " n"], angle: Float64[np.ndarray, " n"]) -> Points:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _blur(points: Points, spread: float, generator: Generator) -> Points:
    return points + spread * generator.standard_normal(points.shape)
