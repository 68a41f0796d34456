"""Sums of a bell-shaped kernel over all pairs of points, and the push each point gets from them.

The kernel is K(r) = (1 + r^2 / a)^-a: Student's t at a = 1, wider tails below, the Gaussian
exp(-r^2) at a = infinity. The sum phi(y) = sum_j K(|y - y_j|) is a potential whose slope is the
push: -1/2 grad phi(y_i) = sum_j K s (y_i - y_j) with s = K^(1/a).
"""

import numpy as np
from jaxtyping import Float

from orrery.nn.rows import Rows
from orrery.train.compiled import compiled

Points = Float[np.ndarray, "n d"]
Plane = Float[np.ndarray, "n 2"]
Sums = tuple[Float[np.ndarray, "n d"], float]  # the pushes; K summed over ordered pairs

BLOCK = 128  # points whose sums are kept together, a loop long enough to be vectorised


def kernel(squares: Float[np.ndarray, "*s"], freedom: float) -> Float[np.ndarray, "*s"]:
    """K at these squared distances."""
    if freedom == np.inf:
        return np.exp(-squares)
    return (1 + squares / freedom) ** -freedom


def pair_sums(points: Points, freedom: float, rows: Rows) -> Sums:
    """Pushes and sum, pair by pair, in any dimension."""
    pushes, totals = np.empty(points.shape), np.empty(len(points))

    def add(start: int, stop: int) -> None:
        apart = points[start:stop, None] - points  # b n d
        squares = np.einsum("bnd,bnd->bn", apart, apart)
        close = kernel(squares, freedom)
        totals[start:stop] = close.sum(axis=1)
        weight = close / (1 + squares / freedom)  # of infinite freedom: divided by one
        pushes[start:stop] = np.einsum("bn,bnd->bd", weight, apart)

    rows.each(len(points), BLOCK, add)
    return pushes, float(totals.sum() - len(points))  # a point makes no pair with itself


def student_pair_sums(points: Plane, rows: Rows) -> Sums:
    """`pair_sums` in the plane at a = 1, in vector instructions."""
    x, y = np.ascontiguousarray(points.T)
    sums = np.empty((3, len(points)))
    rows.each(len(points), BLOCK, lambda start, stop: student_block(x, y, start, stop, sums))
    return sums[:2].T, float(sums[2].sum() - len(points))


@compiled
def student_block(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    start: int,
    stop: int,
    sums: Float[np.ndarray, "3 n"],
) -> None:
    """Push x, push y and sum of K, a point's own K = 1 included, for at most BLOCK points."""
    lanes = np.zeros((5, BLOCK))
    lanes[0, : stop - start] = x[start:stop]
    lanes[1, : stop - start] = y[start:stop]
    for j in range(len(x)):
        there_x, there_y = x[j], y[j]
        for lane in range(BLOCK):
            right = lanes[0, lane] - there_x
            up = lanes[1, lane] - there_y
            close = 1.0 / (1.0 + right * right + up * up)
            lanes[4, lane] += close
            weight = close * close
            lanes[2, lane] += weight * right
            lanes[3, lane] += weight * up
    for row in range(3):
        sums[row, start:stop] = lanes[2 + row, : stop - start]
