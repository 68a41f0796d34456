"""The additions of Winograd's convolution: images to tiles and back; source as in `winograd`.

A line is the 6 or 4 numbers of a row or column of one tile, each for w channels (or columns and
channels) at once: that is the loop the compiler turns into vector instructions.
"""

import numpy as np
from jaxtyping import Float

from orrery.train.compiled import compiled

Pixels = Float[np.ndarray, "b y x c"]
Image = Float[np.ndarray, "y x c"]
Tiles = Float[np.ndarray, "T 6 6 c"]
Lines = Float[np.ndarray, "line w"]


@compiled
def take_apart(images: Pixels, tiles: Tiles) -> None:
    """Fill the tiles with v = B' d B; outside an image there is 0."""
    rows, columns, c = images.shape[1:]
    window, half = np.empty((6, 6 * c), tiles.dtype), np.empty((6, 6 * c), tiles.dtype)
    for n in range(len(tiles)):
        image, y, x = tile_place(n, rows, columns)
        copy_window(images[image], y - 1, x - 1, window)
        data_line(window, half)
        for i in range(6):
            data_line(half[i].reshape(6, c), tiles[n, i])


@compiled
def take_apart_backward(tiles: Tiles, images: Pixels) -> None:
    """Add B v B' to the images, whose neighbouring tiles overlap by two pixels."""
    rows, columns, c = images.shape[1:]
    half, line = np.empty((6, 6 * c), tiles.dtype), np.empty((6, c), tiles.dtype)
    for n in range(len(tiles)):
        image, y, x = tile_place(n, rows, columns)
        data_line_backward(tiles[n].reshape(6, 6 * c), half)
        for i in range(max(0, 1 - y), min(6, rows + 1 - y)):
            data_line_backward(half[i].reshape(6, c), line)
            for j in range(max(0, 1 - x), min(6, columns + 1 - x)):
                for k in range(c):
                    images[image, y - 1 + i, x - 1 + j, k] += line[j, k]


@compiled
def put_together(tiles: Tiles, bias: Float[np.ndarray, " c"], images: Pixels) -> None:
    """Fill the images with y = A' m A + bias."""
    b, rows, columns, c = images.shape
    fours = images.reshape(b, rows, columns // 4, 4, c)
    half = np.empty((4, 6 * c), tiles.dtype)
    for n in range(len(tiles)):
        image, y, x = tile_place(n, rows, columns)
        output_line(tiles[n].reshape(6, 6 * c), half)
        for i in range(4):
            four = fours[image, y + i, x // 4]
            output_line(half[i].reshape(6, c), four)
            for j in range(4):
                for k in range(c):
                    four[j, k] += bias[k]


@compiled
def put_together_backward(images: Pixels, tiles: Tiles) -> None:
    """Fill the tiles with A y A'."""
    b, rows, columns, c = images.shape
    fours = images.reshape(b, rows, columns // 4, 4, c)
    half = np.empty((4, 6, c), tiles.dtype)
    for n in range(len(tiles)):
        image, y, x = tile_place(n, rows, columns)
        for i in range(4):
            output_line_backward(fours[image, y + i, x // 4], half[i])
        output_line_backward(half.reshape(4, 6 * c), tiles[n].reshape(6, 6 * c))


@compiled
def tile_place(n: int, rows: int, columns: int) -> tuple[int, int, int]:
    """Image, first row and first column of tile n."""
    across = columns // 4
    each = rows // 4 * across
    return n // each, n % each // across * 4, n % across * 4


@compiled
def copy_window(image: Image, y: int, x: int, window: Lines) -> None:
    """Fill the window with 6 x 6 pixels from row y and column x on; 0 outside the image."""
    rows, columns, c = image.shape
    for i in range(6):
        for j in range(6):
            if 0 <= y + i < rows and 0 <= x + j < columns:
                for k in range(c):
                    window[i, j * c + k] = image[y + i, x + j, k]
            else:
                window[i, j * c : (j + 1) * c] = 0


@compiled
def data_line(d: Lines, v: Lines) -> None:
    """Fill v with B' d."""
    for k in range(d.shape[1]):
        d1, d2, d3, d4 = d[1, k], d[2, k], d[3, k], d[4, k]
        even, odd = d4 - 4 * d2, d3 - 4 * d1
        low, high = d4 - d2, 2 * (d3 - d1)
        v[0, k] = 4 * d[0, k] - 5 * d2 + d4
        v[1, k] = even + odd
        v[2, k] = even - odd
        v[3, k] = low + high
        v[4, k] = low - high
        v[5, k] = 4 * d1 - 5 * d3 + d[5, k]


@compiled
def data_line_backward(v: Lines, d: Lines) -> None:
    """Fill d with B v."""
    for k in range(v.shape[1]):
        even, odd = v[1, k] + v[2, k], v[1, k] - v[2, k]
        low, high = v[3, k] + v[4, k], 2 * (v[3, k] - v[4, k])
        v0, v5 = v[0, k], v[5, k]
        d[0, k] = 4 * v0
        d[1, k] = 4 * (v5 - odd) - high
        d[2, k] = -5 * v0 - 4 * even - low
        d[3, k] = odd + high - 5 * v5
        d[4, k] = v0 + even + low
        d[5, k] = v5


@compiled
def output_line(m: Lines, y: Lines) -> None:
    """Fill y with A' m."""
    for k in range(m.shape[1]):
        even, odd = m[1, k] + m[2, k], m[1, k] - m[2, k]
        low, high = m[3, k] + m[4, k], 2 * (m[3, k] - m[4, k])
        y[0, k] = m[0, k] + even + low
        y[1, k] = odd + high
        y[2, k] = even + 4 * low
        y[3, k] = odd + 4 * high + m[5, k]


@compiled
def output_line_backward(y: Lines, m: Lines) -> None:
    """Fill m with A y."""
    for k in range(y.shape[1]):
        y0, y1, y2, y3 = y[0, k], y[1, k], y[2, k], y[3, k]
        even, odd = y0 + y2, y1 + y3
        low, high = y0 + 4 * y2, 2 * (y1 + 4 * y3)
        m[0, k] = y0
        m[1, k] = even + odd
        m[2, k] = even - odd
        m[3, k] = low + high
        m[4, k] = low - high
        m[5, k] = y3
