"""Fashion-MNIST: 70,000 grey pictures of clothes in ten classes, the whole set."""

import gzip

import numpy as np

from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.labelled import Images, Labelled, Labels

CARD = Card(
    name="fashion_mnist",
    title="Fashion-MNIST",
    kind="images",
    manager="debian",
    package="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    inside="usr/share/datasets/fashion-mnist",
    sha256={
        "train-images-idx3-ubyte.gz":
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        "train-labels-idx1-ubyte.gz":
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        "t10k-images-idx3-ubyte.gz":
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        "t10k-labels-idx1-ubyte.gz":
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    },
    size=30_878_551,
    counts={"train": 60_000, "test": 10_000, "classes": 10},
    licence="MIT",
    redistributable=True,
    stands_for="CIFAR-10 and ImageNet, at a size that trains in seconds; MNIST's harder twin",
    citation="Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747",
)  # fmt: skip

CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def load() -> tuple[Labelled, Labelled]:
    """The authors' own split: 60,000 to train on, 10,000 to test on, 28 x 28 pixels of 0 to 255."""
    return (
        Labelled(_images("train-images-idx3-ubyte.gz"), _labels("train-labels-idx1-ubyte.gz")),
        Labelled(_images("t10k-images-idx3-ubyte.gz"), _labels("t10k-labels-idx1-ubyte.gz")),
    )


def _images(file: str) -> Images:
    pixels = np.frombuffer(gzip.decompress(read(CARD, file)), np.uint8, offset=16)
    return pixels.reshape(-1, 28, 28).copy()  # a copy can be written to


def _labels(file: str) -> Labels:
    return np.frombuffer(gzip.decompress(read(CARD, file)), np.uint8, offset=8).astype(np.int64)
