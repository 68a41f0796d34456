"""A phrase table: runs of words that translate each other, cut out of aligned sentences.

Source: Koehn, Och and Marcu 2003, "Statistical Phrase-Based Translation", NAACL, sections 2 and 3;
Och and Ney 2003, "A Systematic Comparison of Various Statistical Alignment Models", Computational
Linguistics 29(1), for joining the alignments of both directions.
Differs from the papers: joined by growing the links that both directions have along neighbours
(grow-diag) and no further; no lexical weights.

A pair of runs is consistent with an alignment if it has a link inside and none that leaves it:
no word of either run is linked to a word outside the other. Counting all consistent pairs of a
corpus gives p(target | source) and p(source | target).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orrery.catalog import System
from orrery.systems.language.ibm_models import Link, Sentence

SYSTEM = System(
    stem="phrase_table", area="language", title="Phrase table", year=2003,
    papers=("Koehn et al. 2003", "Och and Ney 2003"), builds_on=("ibm_models",), realises=(),
)  # fmt: skip

Phrase = tuple[int, ...]
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@dataclass(frozen=True, slots=True)
class Option:
    """One translation of a phrase."""

    target: Phrase
    forward: float
    """log p(target | source)."""
    backward: float
    """log p(source | target)."""


def join(forward: frozenset[Link], backward: frozenset[Link]) -> frozenset[Link]:
    """Links that both directions have, and neighbours of these that one has, word by new word.

    Args:
        forward: links (source, target) found from the source's side.
        backward: links (source, target) found from the target's side.
    """
    links, either = set(forward & backward), forward | backward
    grown = True
    while grown:
        grown = False
        for i, j in sorted(links):
            for y, x in AROUND:
                new = (i + y, j + x)
                if new not in either or new in links:
                    continue
                if all(new[0] != a for a, _ in links) or all(new[1] != b for _, b in links):
                    links.add(new)
                    grown = True
    return frozenset(links)


def consistent(
    source: Sentence, target: Sentence, links: frozenset[Link], longest: int
) -> Iterator[tuple[Phrase, Phrase]]:
    """Every consistent pair of runs of at most `longest` words each."""
    linked = {j for _, j in links}
    for first in range(len(source)):
        for last in range(first, min(first + longest, len(source))):
            inside = [j for i, j in links if first <= i <= last]
            if not inside:
                continue
            low, high = min(inside), max(inside)
            if any(low <= j <= high and not first <= i <= last for i, j in links):
                continue
            start = low
            while start >= 0 and (start == low or start not in linked):
                end = high
                while end < len(target) and (end == high or end not in linked):
                    if end - start < longest:
                        yield tuple(source[first : last + 1]), tuple(target[start : end + 1])
                    end += 1
                start -= 1


def phrase_table(
    sources: Sequence[Sentence],
    targets: Sequence[Sentence],
    links: Sequence[frozenset[Link]],
    *,
    longest: int = 4,
    keep: int = 10,
) -> dict[Phrase, tuple[Option, ...]]:
    """For each source phrase its translations, the likeliest first.

    Args:
        sources: sentences as numbers of words.
        targets: their translations.
        links: of each pair.
        longest: words in a phrase.
        keep: translations of a phrase that are kept.

    Raises:
        ValueError: longest or keep is below 1.
    """
    if longest < 1 or keep < 1:
        raise ValueError(f"longest and keep must be at least 1, got {longest} and {keep}")
    counts: Counter[tuple[Phrase, Phrase]] = Counter()
    for source, target, found in zip(sources, targets, links, strict=True):
        counts.update(consistent(source, target, found, longest))
    of_source, of_target = Counter[Phrase](), Counter[Phrase]()
    for (there, here), count in counts.items():
        of_source[there] += count
        of_target[here] += count
    table: defaultdict[Phrase, list[Option]] = defaultdict(list)
    for (there, here), count in counts.items():
        shares = math.log(count / of_source[there]), math.log(count / of_target[here])
        table[there].append(Option(here, *shares))
    return {
        phrase: tuple(sorted(options, key=lambda o: (-o.forward - o.backward, o.target))[:keep])
        for phrase, options in table.items()
    }
