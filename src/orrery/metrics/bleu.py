"""BLEU: how many runs of one to four words a translation shares with a reference.

Source: Papineni, Roukos, Ward and Zhu 2002, "BLEU: a Method for Automatic Evaluation of Machine
Translation", ACL 2002, section 2.
Differs from the paper: out of 100, and where a length of run has no match at all its precision is
halved again and again instead of making the whole score zero (`smooth`), as sacrebleu does; where
two references are as near in length, the shorter counts.

Symbols: p_n the share of the translation's runs of n words that stand in a reference, each counted
at most as often as in the one reference that has it most often; c and r the words of all
translations and of the references nearest to them in length.

    BLEU = 100 min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4)

All sums go over the whole corpus before anything is divided. Words are whatever the caller splits
a text into, so scores compare only where the splitting is the same.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orrery.catalog import System

SYSTEM = System(
    stem="bleu", area="language", title="BLEU", year=2002, papers=("Papineni et al. 2002",),
    builds_on=(), realises=("bleu",),
)  # fmt: skip

ORDER = 4
Words = Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bleu:
    """The score and what it is made of."""

    score: float
    precisions: tuple[float, ...]
    """Shares of runs of one, two, ... words, after smoothing."""
    brevity: float
    """1, or less where the translations are too short."""


def bleu(
    translations: Sequence[Words], references: Sequence[Sequence[Words]], *, smooth: bool = True
) -> Bleu:
    """The score of a corpus.

    Args:
        translations: each as a list of words.
        references: for each translation one or more right ones.
        smooth: give a length of run without a match a little, not zero.

    Raises:
        ValueError: the two lists differ in length, or a translation has no reference.
    """
    if len(translations) != len(references) or not all(references):
        raise ValueError(
            f"references must be one or more for each of the {len(translations)} translations"
        )
    matches, totals = [0] * ORDER, [0] * ORDER
    length = wanted = 0
    for translation, allowed in zip(translations, references, strict=True):
        length += len(translation)
        wanted += min((abs(len(r) - len(translation)), len(r)) for r in allowed)[1]
        for n in range(ORDER):
            runs = _runs(translation, n + 1)
            most = _union(_runs(reference, n + 1) for reference in allowed)
            matches[n] += (runs & most).total()
            totals[n] += runs.total()
    brevity = 1.0 if length >= wanted else math.exp(1 - wanted / length) if length else 0.0
    precisions = _precisions(matches, totals, smooth)
    score = 0.0
    if any(matches) and min(precisions) > 0:
        score = 100 * brevity * math.exp(sum(map(math.log, precisions)) / ORDER)
    return Bleu(score=score, precisions=precisions, brevity=brevity)


def _runs(words: Words, n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _union(counters: Iterable[Counter[tuple[str, ...]]]) -> Counter[tuple[str, ...]]:
    """Each run as often as in the counter that has it most often."""
    most: Counter[tuple[str, ...]] = Counter()
    for counter in counters:
        most |= counter
    return most


def _precisions(matches: Sequence[int], totals: Sequence[int], smooth: bool) -> tuple[float, ...]:
    """Matches over totals; the k-th length of run without a match counts as 2^-k of one."""
    found, part = [], 1.0
    for hits, total in zip(matches, totals, strict=True):
        if hits == 0:
            part /= 2
        found.append((hits or (part if smooth else 0)) / total if total else 0.0)
    return tuple(found)
