"""The 1,797 hand-written digits of 8 x 8 pixels that come with scikit-learn."""

import gzip
from io import BytesIO

import numpy as np

from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.labelled import Labelled

FILE = "digits.csv.gz"

CARD = Card(
    name="digits",
    title="Optical recognition of handwritten digits",
    kind="images",
    manager="installed",
    package="scikit-learn",
    inside="sklearn/datasets/data",
    sha256={FILE: "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"},
    size=57_523,
    counts={"train": 1_437, "test": 360, "classes": 10},
    licence="CC-BY-4.0 (UCI), packaged under BSD-3-Clause",
    redistributable=True,
    stands_for="MNIST where it is plotted or embedded: small enough for every method",
    citation="Alpaydin, Kaynak 1998, UCI Machine Learning Repository, doi:10.24432/C50P49",
)


def load() -> tuple[Labelled, Labelled]:
    """The first 1,437 digits to train on, the last 360 to test on; 8 x 8 pixels of 0 to 16.

    The file goes from writer to writer, so most of the test comes from hands not trained on.
    """
    rows = np.loadtxt(BytesIO(gzip.decompress(read(CARD, FILE))), np.uint8, delimiter=",")
    images = rows[:, :-1].reshape(-1, 8, 8)
    labels = rows[:, -1].astype(np.int64)
    return (
        Labelled(images[:1_437].copy(), labels[:1_437]),
        Labelled(images[1_437:].copy(), labels[1_437:]),
    )
