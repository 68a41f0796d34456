"""Sentences from reviews of films, each with the mean score of some twenty readers."""

import tarfile
from functools import cache
from html import unescape
from io import BytesIO

from orrery.data import reviews
from orrery.data.card import Card
from orrery.data.fetch import read
from orrery.data.reviews import Reviews
from orrery.errors import OrreryError

FILE = "hutto_ICWSM_2014.tar.gz"

CARD = Card(
    name="movie_snippets",
    title="Movie review snippets",
    kind="text",
    manager="pip",
    package="vaderSentiment",
    version="0.5",
    inside="vaderSentiment-0.5/additional_resources",
    sha256={FILE: "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"},
    archive_sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    size=2_338_514,
    counts={"lines": 10_605, "reviews": 10_603},
    licence="MIT (the package's); of the snippets nothing is said",
    redistributable=False,
    stands_for="SST and IMDB: English sentiment, where a small encoder is fine-tuned",
    citation="Hutto and Gilbert 2014, ICWSM; sentences gathered by Pang and Lee",
    note="Only the source package of this old version has the scores.",
)

_INSIDE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


@cache
def load() -> Reviews:
    """Every snippet, none twice, with its score from -4 (against the film) to 4 (for it).

    Raises:
        OrreryError: the set cannot be had.
    """
    with tarfile.open(fileobj=BytesIO(read(CARD, FILE)), mode="r:gz") as tree:
        content = tree.extractfile(_INSIDE)
        if content is None:
            raise OrreryError(f"{FILE} has no file {_INSIDE}")
        lines = [line.split("\t") for line in content.read().decode("utf8").split("\r\n") if line]
    return reviews.distinct((unescape(text), float(score)) for _, score, text in lines)


def split() -> tuple[Reviews, Reviews, Reviews]:
    """To train on, to choose by, to test on."""
    return reviews.split(load())
