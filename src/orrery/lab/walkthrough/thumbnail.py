"""Small pictures of matrices inside a page: PNG as text, in colours that all eyes tell apart."""

import base64
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Matrix = Float[np.ndarray, "y x"]

LOW, MIDDLE, HIGH = (178, 88, 6), (250, 250, 250), (33, 91, 168)
"""Orange below nothing, blue above it."""


def thumbnail(matrix: Matrix) -> str:
    """The address of a picture, a pixel a number: white is 0, full colour the largest there.

    Numbers that are not finite are drawn as if they were the least.
    """
    finite = np.isfinite(matrix)
    largest = float(np.abs(matrix[finite]).max()) if finite.any() else 0.0
    scaled = np.where(finite, np.where(finite, matrix, 0.0) / (largest or 1.0), -1.0)
    buffer = io.BytesIO()
    Image.fromarray(_colours(scaled)).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _colours(scaled: Matrix) -> UInt8[np.ndarray, "y x 3"]:
    """Colours of numbers from -1 to 1."""
    low, middle, high = (np.array(colour, dtype=float) for colour in (LOW, MIDDLE, HIGH))
    share = np.abs(scaled)[..., None]
    ends = np.where(scaled[..., None] < 0, low, high)
    return np.rint(middle + (ends - middle) * share).astype(np.uint8)
