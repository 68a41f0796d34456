"""Sums over all pairs of points in the plane in n + g log g operations, by a grid of g nodes.

Source: Essmann et al. 1995, "A smooth particle mesh Ewald method", doi:10.1063/1.470117.

Spread the points over the nodes by cubic splines, convolve with the kernel by one Fourier transform
and one back, read the potential off by the same splines; the pushes are its slope
(nn/pair_sums.py). FIt-SNE (Linderman et al. 2019, doi:10.1038/s41592-018-0308-4) interpolates the
pushes themselves, with four transforms each way.
"""

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft

from orrery.nn.pair_sums import Sums, kernel
from orrery.nn.rows import Rows
from orrery.train.compiled import compiled

Plane = Float[np.ndarray, "n 2"]

SPACING = 0.4  # of the nodes; the kernel is about one unit wide
FEWEST = 48  # cells along a side


class Grid:
    """Pushes and sum by a grid over the plane; keeps the kernel's transform between calls."""

    def __init__(self, freedom: float, rows: Rows) -> None:
        self.freedom = freedom
        self.rows = rows
        self._kernel: tuple[int, float, Complex[np.ndarray, "g f"]] | None = None

    def pair_sums(self, points: Plane) -> Sums:
        """Pushes and sum, up to the grid's error: a few hundredths of a typical push at most."""
        low = points.min(axis=0)
        span = max(float((points.max(axis=0) - low).max()), 1e-6)
        spacing = min(SPACING, span / FEWEST)
        cells = int(np.ceil(span / spacing)) + 4  # a spline reaches two cells beyond its point
        size = fft.next_fast_len(2 * cells, real=True)  # twice: the transform is periodic
        places = (points - low) / spacing + 1.5
        charge = np.zeros((cells, size))
        spread(places, charge)
        workers = self.rows.threads
        spectrum = fft.fft(fft.rfft(charge, axis=1, workers=workers), size, axis=0, workers=workers)
        spectrum *= self._spectrum(size, spacing)
        half = fft.ifft(spectrum, axis=0, workers=workers)[:cells]  # points are nowhere else
        potential = fft.irfft(half, size, axis=1, workers=workers)
        values = np.empty((3, len(points)))
        self.rows.each(len(points), 4096, lambda a, b: read(places, potential, a, b, values))
        return values[1:].T / (-2 * spacing), float(values[0].sum() - len(points))

    def _spectrum(self, size: int, spacing: float) -> Complex[np.ndarray, "g f"]:
        """The kernel's transform over that of the splines, which blur once each way."""
        if self._kernel is None or self._kernel[:2] != (size, spacing):
            offsets = spacing * np.minimum(np.arange(size), size - np.arange(size))
            sampled = kernel(offsets[:, None] ** 2 + offsets**2, self.freedom)
            blur = (2 + np.cos(2 * np.pi * np.arange(size) / size)) / 3
            both = blur[:, None] * blur[: size // 2 + 1]
            self._kernel = size, spacing, fft.rfft2(sampled) / both**2
        return self._kernel[2]


@compiled
def spline_weights(place: float, weights: Float[np.ndarray, " 4"]) -> int:
    """A cubic B-spline's weights at the four nodes about the place; returns the first node."""
    node = int(place)
    t = place - node
    weights[0] = (1 - t) ** 3 / 6
    weights[1] = (4 - 6 * t**2 + 3 * t**3) / 6
    weights[2] = (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6
    weights[3] = t**3 / 6
    return node - 1


@compiled
def spline_slopes(place: float, slopes: Float[np.ndarray, " 4"]) -> None:
    """The derivatives of the four weights."""
    t = place - int(place)
    slopes[0] = -((1 - t) ** 2) / 2
    slopes[1] = (3 * t - 4) * t / 2
    slopes[2] = (1 + 2 * t - 3 * t**2) / 2
    slopes[3] = t**2 / 2


@compiled
def spread(places: Plane, charge: Float[np.ndarray, "rows columns"]) -> None:
    """Add a unit charge for every point to the nodes about it."""
    across, along = np.empty(4), np.empty(4)
    for i in range(len(places)):
        row = spline_weights(places[i, 0], across)
        column = spline_weights(places[i, 1], along)
        for a in range(4):
            for b in range(4):
                charge[row + a, column + b] += across[a] * along[b]


@compiled
def read(
    places: Plane,
    potential: Float[np.ndarray, "rows columns"],
    start: int,
    stop: int,
    values: Float[np.ndarray, "3 n"],
) -> None:
    """The potential and its slopes, per node, at some of the points."""
    across, along, across_slope, along_slope = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for i in range(start, stop):
        row = spline_weights(places[i, 0], across)
        column = spline_weights(places[i, 1], along)
        spline_slopes(places[i, 0], across_slope)
        spline_slopes(places[i, 1], along_slope)
        value, slope_x, slope_y = 0.0, 0.0, 0.0
        for a in range(4):
            line, line_slope = 0.0, 0.0
            for b in range(4):
                here = potential[row + a, column + b]
                line += along[b] * here
                line_slope += along_slope[b] * here
            value += across[a] * line
            slope_x += across_slope[a] * line
            slope_y += across[a] * line_slope
        values[0, i], values[1, i], values[2, i] = value, slope_x, slope_y
