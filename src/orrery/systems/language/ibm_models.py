"""IBM models 1 and 2: which word comes from which, learnt from pairs of sentences alone.

Source: Brown, Della Pietra, Della Pietra and Mercer 1993, "The Mathematics of Statistical Machine
Translation: Parameter Estimation", Computational Linguistics 19(2), sections 4.1 and 4.2.
Differs from the paper: whole corpora as arrays; model 2 always begins from model 1.

Symbols: e the words of a source sentence, e_0 the empty word, l their number; f the words of a
target sentence, m their number; t(f | e) how often e becomes f; a(i | j, l, m) how often place j of
the target comes from place i of the source.

    p(f | e) = product over j of sum over i of t(f_j | e_i) a(i | j, l, m)

In model 1 all places are alike, a = 1 / (l + 1). The expectation step shares each target word out
among the source words in proportion to t a; the maximisation step counts the shares. Neither step
can make the corpus less likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.catalog import System

SYSTEM = System(
    stem="ibm_models", area="language", title="IBM models 1 and 2", year=1993,
    papers=("Brown et al. 1993",), builds_on=(), realises=(),
)  # fmt: skip

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Sentence = Sequence[int]
Link = tuple[int, int]  # place in the source, place in the target
EMPTY = -1  # the number of the empty word


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignments:
    """What was learnt."""

    table: dict[Link, float]
    """t(f | e), by the numbers of e and f; `EMPTY` is the empty word."""
    log_likelihood: tuple[float, ...]
    """Of the corpus, in nats, before each step."""
    links: tuple[frozenset[Link], ...]
    """Of each pair: the likeliest source place of each target word that has one."""


def align(
    sources: Sequence[Sentence], targets: Sequence[Sentence], *, steps: int, steps2: int = 0
) -> Alignments:
    """Learn t, and a where model 2 has steps, by expectation and maximisation.

    Args:
        sources: sentences as numbers of words, 0 or more.
        targets: their translations.
        steps: of model 1.
        steps2: of model 2, after that.

    Raises:
        ValueError: the two differ in number, or a target is empty.
    """
    if len(sources) != len(targets) or not all(map(len, targets)):
        raise ValueError(f"targets must be {len(sources)} sentences with words")
    corpus = _Corpus(sources, targets)
    t = 1 / np.bincount(corpus.e)[corpus.e]  # every target word that e was seen with, alike
    a, likelihood = corpus.alike, []
    for step in range(steps + steps2):
        joint = t[corpus.pair] * a[corpus.place]
        total = np.bincount(corpus.slot, weights=joint)
        likelihood.append(float(np.log(total).sum()))
        share = joint / total[corpus.slot]
        count = np.bincount(corpus.pair, weights=share)
        t = count / np.bincount(corpus.e, weights=count)[corpus.e]
        if step >= steps:
            moved = np.bincount(corpus.place, weights=share)
            a = moved / np.bincount(corpus.given, weights=moved)[corpus.given]
    return Alignments(
        table=dict(zip(corpus.words, t.tolist(), strict=True)), log_likelihood=tuple(likelihood),
        links=corpus.best(t[corpus.pair] * a[corpus.place]),
    )  # fmt: skip


class _Corpus:
    """Every possible link of every pair, one after another: target word by target word."""

    def __init__(self, sources: Sequence[Sentence], targets: Sequence[Sentence]) -> None:
        rows = [
            (number, i, j, len(source), len(target), e, f)
            for number, (source, target) in enumerate(zip(sources, targets, strict=True))
            for j, f in enumerate(target)
            for i, e in enumerate((EMPTY, *source))
        ]
        number, i, j, length, others, e, f = np.array(rows, dtype=np.int64).T
        self.number, self.i, self.j = number, i, j
        self.slot = _numbers(number, j)[0]  # one a target word of the corpus
        self.pair, (pair_e, pair_f) = _numbers(e, f)
        self.place, (_, *given) = _numbers(i, j, length, others)
        self.alike = 1.0 / (given[1] + 1)
        self.given = _numbers(*given)[0]
        self.words = list(zip(pair_e.tolist(), pair_f.tolist(), strict=True))
        self.e = np.unique(pair_e, return_inverse=True)[1]

    def best(self, joint: Floats) -> tuple[frozenset[Link], ...]:
        """For every pair of sentences the likeliest links; places count from 0."""
        order = np.lexsort((-joint, self.slot))  # of each target word, the likeliest first
        first = order[np.unique(self.slot[order], return_index=True)[1]]
        found: list[set[Link]] = [set() for _ in range(int(self.number[-1]) + 1)]
        for at in first.tolist():
            if self.i[at]:  # 0 is the empty word
                found[self.number[at]].add((int(self.i[at]) - 1, int(self.j[at])))
        return tuple(map(frozenset, found))


def _numbers(*columns: Ids) -> tuple[Ids, tuple[Ids, ...]]:
    """A number for each different row of the columns: that of every row, and the rows by number."""
    codes = np.zeros_like(columns[0])
    for column in columns:
        codes = codes * (int(column.max()) + 2) + column + 1
    _, first, numbers = np.unique(codes, return_index=True, return_inverse=True)
    return numbers, tuple(column[first] for column in columns)
