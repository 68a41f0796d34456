"""Statistical machine translation: phrases from a table, put in order by a language model.

Source: Brown et al. 1993, "The Mathematics of Statistical Machine Translation", for the alignments
behind the phrases; Koehn, Och and Marcu 2003, "Statistical Phrase-Based Translation", NAACL,
section 2, for the model and the decoder with its stacks and future costs.
Differs from the papers: the weights are set, not tuned; no lexical weights; a word without a
translation is passed on as it is, or as `unknown`.

A hypothesis has translated some words of the source and written the beginning of a target. It goes
on by translating any run of words that is still open. Its score is the sum of

    language model: log p(words written)           table: log p(target | source), both ways
    order: minus the words jumped over             length: a bonus a word written

Hypotheses that have translated as many words compete in one stack; of those that neither the
language model nor the order can tell apart only the best stays. What the open words will cost at
the least is counted in, so that nobody leads by doing the easy words first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orrery.catalog import System
from orrery.systems.language.ibm_models import Sentence, align
from orrery.systems.language.ngram import Ngram, NgramConfig
from orrery.systems.language.phrase_table import Option, Phrase, join, phrase_table

SYSTEM = System(
    stem="smt", area="language", title="Statistical machine translation", year=2003,
    papers=("Brown et al. 1993", "Koehn et al. 2003"),
    builds_on=("ibm_models", "ngram", "phrase_table"), realises=("smt",),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SmtConfig:
    """Sizes of the parts, and how much each counts."""

    target_vocab: int = 1000
    order: int = 3
    """Longest gram of the language model, in words."""
    longest: int = 4
    """Words in a phrase."""
    steps: int = 5
    """Of IBM model 1; model 2 has as many after it."""
    beam: int = 16
    """Hypotheses in a stack."""
    jump: int = 4
    """Words between the first open one and the phrase that is translated next, at most."""
    language: float = 1.0
    forward: float = 0.7
    backward: float = 0.7
    order_cost: float = 0.4
    word_bonus: float = 1.5
    unknown: int | None = None
    """Written for a word without a translation; None passes the word on."""
    separator: int = 0
    """A number that no word has: what the language model sees between sentences."""

    def __post_init__(self) -> None:
        for name in ("target_vocab", "order", "longest", "steps", "beam", "jump"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    covered: int  # a bit a word of the source
    end: int  # the place after the last word translated
    written: Phrase
    score: float
    history: Phrase


class _Language:
    """The language model, a gram at a time, each looked up once."""

    def __init__(self, config: SmtConfig, targets: Sequence[Sentence]) -> None:
        self.order, self.separator = config.order, config.separator
        text = [word for target in targets for word in (self.separator, *target)]
        grams = NgramConfig(vocab=config.target_vocab, order=config.order)
        self.model = Ngram(grams, np.array([*text, self.separator]))
        self.known: dict[Phrase, float] = {}

    def look_up(self, grams: set[Phrase]) -> None:
        """Learn of grams in one go."""
        new = sorted(grams - self.known.keys())
        if new:
            chances = -self.model.surprise(np.array(new))[:, -1]
            self.known.update(zip(new, chances.tolist(), strict=True))

    def grams(self, history: Phrase, words: Phrase) -> list[Phrase]:
        """Each word with the order - 1 words before it."""
        text = history + words
        return [text[i - self.order + 1 : i + 1] for i in range(len(history), len(text))]

    def start(self) -> Phrase:
        """Before the first word."""
        return (self.separator,) * (self.order - 1)


class Smt:
    """A phrase table and a language model of the target, learnt from pairs of sentences."""

    def __init__(
        self, config: SmtConfig, sources: Sequence[Sentence], targets: Sequence[Sentence]
    ) -> None:
        """Align in both directions, cut out phrases, count grams."""
        self.config = config
        there = align(sources, targets, steps=config.steps, steps2=config.steps).links
        back = align(targets, sources, steps=config.steps, steps2=config.steps).links
        turned = [frozenset((i, j) for j, i in links) for links in back]
        self.links = tuple(map(join, there, turned))
        self.table = phrase_table(sources, targets, self.links, longest=config.longest)
        self._language = _Language(config, targets)

    def translate(self, source: Sentence) -> Phrase:
        """The best target found."""
        options = self._options(source)
        future = self._future(len(source), options)
        stacks: list[dict[tuple[int, int, Phrase], _Hypothesis]] = [
            {} for _ in range(len(source) + 1)
        ]
        first = _Hypothesis(0, 0, (), 0.0, self._language.start())
        stacks[0][0, 0, first.history] = first
        for count, stack in enumerate(stacks):
            kept = sorted(
                stack.values(), key=lambda h: -h.score - self._open(h, len(source), future)
            )
            kept = kept[: self.config.beam]
            if count == len(source):
                break
            steps = [
                (h, span, option)
                for h in kept
                for span, found in options.items()
                if self._allowed(h, *span)
                for option in found
            ]
            grams = {g for h, _, o in steps for g in self._language.grams(h.history, o.target)}
            self._language.look_up(grams)
            for h, span, option in steps:
                new = self._extended(h, span, option)
                key = (new.covered, new.end, new.history)
                here = stacks[new.covered.bit_count()]
                if key not in here or here[key].score < new.score:
                    here[key] = new
        return self._best_ending(kept)

    def _options(self, source: Sentence) -> dict[tuple[int, int], tuple[Option, ...]]:
        """Translations of every run of words that has some; of each single word at least one."""
        found = {}
        for first in range(len(source)):
            for last in range(first + 1, min(first + self.config.longest, len(source)) + 1):
                phrase = tuple(source[first:last])
                if phrase in self.table:
                    found[first, last] = self.table[phrase]
                elif last == first + 1:
                    unknown = self.config.unknown
                    word = source[first] if unknown is None else unknown
                    found[first, last] = (Option((word,), 0.0, 0.0),)
        return found

    def _future(
        self, length: int, options: dict[tuple[int, int], tuple[Option, ...]]
    ) -> dict[tuple[int, int], float]:
        """The best score that each run of words can hope for, whatever is written before it."""
        start = self._language.start()
        self._language.look_up(
            {g for o in options.values() for x in o for g in self._language.grams(start, x.target)}
        )
        best = {
            span: max(self._worth(start, option) for option in found)
            for span, found in options.items()
        }
        for size in range(2, length + 1):
            for first in range(length - size + 1):
                span = (first, first + size)
                parts = [best[first, k] + best[k, first + size] for k in range(first + 1, span[1])]
                best[span] = max(best.get(span, -np.inf), *parts)
        return best

    def _worth(self, history: Phrase, option: Option) -> float:
        c, language = self.config, self._language
        said = sum(language.known[gram] for gram in language.grams(history, option.target))
        return (
            c.language * said
            + c.forward * option.forward
            + c.backward * option.backward
            + c.word_bonus * len(option.target)
        )

    def _allowed(self, h: _Hypothesis, first: int, last: int) -> bool:
        """The run is open, and no open word is left too far behind."""
        run = (1 << last) - (1 << first)
        oldest = (~h.covered & (h.covered + 1)).bit_length() - 1
        return not run & h.covered and first - oldest <= self.config.jump

    def _extended(self, h: _Hypothesis, span: tuple[int, int], option: Option) -> _Hypothesis:
        first, last = span
        return _Hypothesis(
            covered=h.covered | (1 << last) - (1 << first),
            end=last,
            written=h.written + option.target,
            score=h.score
            + self._worth(h.history, option)
            - self.config.order_cost * abs(first - h.end),
            history=(h.history + option.target)[len(option.target) :],
        )

    def _open(self, h: _Hypothesis, length: int, future: dict[tuple[int, int], float]) -> float:
        """What the open words can still hope for."""
        total, first = 0.0, 0
        while first < length:
            last = first
            while last < length and not h.covered >> last & 1:
                last += 1
            total += future[first, last] if last > first else 0.0
            first = last + 1
        return total

    def _best_ending(self, finished: list[_Hypothesis]) -> Phrase:
        """Of what has translated all, the best when the end of the sentence counts too."""
        end = (self.config.separator,)
        self._language.look_up({g for h in finished for g in self._language.grams(h.history, end)})
        return max(
            finished,
            key=lambda h: h.score + self._worth(h.history, Option(end, 0.0, 0.0)),
        ).written
