"""Reviews that are for or against, and the plain ways of telling which."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64
from numpy.random import Generator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from orrery.data.reviews import Reviews

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of a logistic regression, to be chosen among

Classes = Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Part:
    """Texts, and 1 for those that are for their subject."""

    texts: tuple[str, ...]
    labels: Classes

    @classmethod
    def drawn(cls, reviews: Reviews, least: float, count: int, random: Generator) -> "Part":
        """At most `count` of the reviews whose score is further than `least` from 0."""
        texts, labels = reviews.sides(least)
        order = random.permutation(len(texts))[:count]
        return cls(tuple(texts[i] for i in order), labels[order])

    def first(self, count: int) -> "Part":
        """The first `count`."""
        return Part(self.texts[:count], self.labels[:count])


@dataclass(frozen=True)
class ReviewParts:
    """What is trained on, chosen by and tested on."""

    train: Part
    validation: Part
    test: Part

    @classmethod
    def drawn(
        cls, parts: Sequence[Reviews], least: float, counts: tuple[int, int], random: Generator
    ) -> "ReviewParts":
        """So many reviews to train on, and so many to choose by and to test on."""
        train, *others = parts
        first = Part.drawn(train, least, counts[0], random)
        return cls(first, *(Part.drawn(part, least, counts[1], random) for part in others))

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        """All three."""
        return self.train, self.validation, self.test

    def first(self, count: int) -> "ReviewParts":
        """With fewer to train on."""
        return replace(self, train=self.train.first(count))

    def shuffled(self, random: Generator) -> "ReviewParts":
        """With the labels to train on and to choose by dealt out anew."""
        parts = (self.train, self.validation)
        train, validation = (Part(p.texts, random.permutation(p.labels)) for p in parts)
        return replace(self, train=train, validation=validation)


def bag(corpus: ReviewParts, *, characters: bool = False) -> float:
    """Accuracy of a logistic regression on words, or characters, and pairs of neighbours."""
    kind = "char" if characters else "word"
    counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, analyzer=kind)
    features = counter.fit_transform(corpus.train.texts)
    others = [counter.transform(part.texts) for part in (corpus.validation, corpus.test)]
    return _logistic(corpus, (features, *others))


def probe(corpus: ReviewParts, embeddings: Sequence[Float[Tensor, "n d"]]) -> float:
    """Accuracy of a logistic regression on the embeddings of the three parts."""
    count = len(corpus.train.texts)
    train, *others = (part.cpu().numpy() for part in embeddings)
    return _logistic(corpus, (train[:count], *others))


def _logistic(corpus: ReviewParts, features: tuple) -> float:  # type: ignore[type-arg]
    """Accuracy in the test with the strength that is best in the validation."""
    train, validation, test = features

    def fitted(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2_000).fit(train, corpus.train.labels)

    models = [fitted(strength) for strength in STRENGTHS]
    best = max(models, key=lambda m: m.score(validation, corpus.validation.labels))
    return float(best.score(test, corpus.test.labels))
