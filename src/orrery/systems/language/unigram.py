"""Unigram: pieces with chances, and a word becomes the likeliest row of them.

Source: Kudo 2018, arXiv:1804.10959, section 3.2; SentencePiece (Kudo and Richardson 2018,
arXiv:1808.06226) for the mark that stands for a space, the digamma of the M-step and the score of
an unknown character, 10 under the least.
Differs from the papers: the pieces to begin with are the commonest stretches of words times their
length, found by counting all up to a length in place of a suffix array. So what is learnt is close
to SentencePiece's in likelihood and not the same; what is encoded with given pieces is.

Symbols: an arc leads from one place in a word to a later one and is a piece; a row of arcs from
the first place to the last spells the word.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from orrery.catalog import System
from orrery.systems.language.special_tokens import SpecialTokens
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="unigram", area="language", title="Unigram tokeniser", year=2018,
    papers=("arXiv:1804.10959", "arXiv:1808.06226"), builds_on=(),
)  # fmt: skip

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Form = Literal["", "NFC", "NFD", "NFKC", "NFKD"]

SPACE = "\u2581"
UNKNOWN_PENALTY = 10.0
LEAST_EXPECTED = 0.5  # a piece expected less often is dropped
ROUNDS = 2  # of expectation and maximisation between two prunings


@dataclass(frozen=True, kw_only=True, slots=True)
class UnigramVocabulary:
    """Pieces and their log chances; a piece's number is its place."""

    pieces: Sequence[tuple[str, float]]
    unknown: int = 0
    """The number of the piece that stands for what no piece has."""
    prefix: Literal["always", "first", "never"] = "always"
    """Where a space is put first: before all that lies between special tokens, the text only."""
    form: Form = ""
    """The Unicode form that text is brought to."""
    byte_pieces: bool = False
    """An unknown stretch becomes pieces <0x00> to <0xFF>, where all of them are there."""
    specials: Mapping[str, int] | None = None
    """Strings that are one token wherever they stand; their numbers."""

    def __post_init__(self) -> None:
        if not 0 <= self.unknown < len(self.pieces):
            raise ValueError(f"unknown must be in [0, {len(self.pieces)}), got {self.unknown}")
        if not all(math.isfinite(score) for _, score in self.pieces):
            raise ValueError("scores of pieces must be finite")
        if self.prefix not in ("always", "first", "never"):
            raise ValueError(f"prefix must be always, first or never, got {self.prefix!r}")
        if self.form not in ("", "NFC", "NFD", "NFKC", "NFKD"):
            raise ValueError(f"form must be NFC, NFD, NFKC, NFKD or none, got {self.form!r}")


class Unigram:
    """Text to pieces and back."""

    def __init__(self, vocabulary: UnigramVocabulary) -> None:
        self.vocabulary = vocabulary
        self._numbers = {piece: i for i, (piece, _) in enumerate(vocabulary.pieces)}
        self._scores = dict(vocabulary.pieces)
        self._width = max(len(piece) for piece, _ in vocabulary.pieces)
        self._unknown_score = min(s for _, s in vocabulary.pieces) - UNKNOWN_PENALTY
        self._known: dict[str, list[int]] = {}
        specials = vocabulary.specials or {}
        self._specials = SpecialTokens(specials)
        self._names = {i: piece for i, (piece, _) in enumerate(vocabulary.pieces)}
        self._names |= {number: text for text, number in specials.items()}

    def encode(self, text: str) -> list[int]:
        """The numbers of the likeliest pieces."""
        numbers: list[int] = []
        for i, (piece, special) in enumerate(self._specials.parts(text)):
            if special:
                numbers.append((self.vocabulary.specials or {})[piece])
                continue
            for word in self.words(piece, first=i == 0):
                if word not in self._known:
                    self._known[word] = self._numbered(self.best(word)[0])
                numbers += self._known[word]
        return numbers

    def words(self, text: str, *, first: bool = True) -> list[str]:
        """Cut before each space, which is written as a mark."""
        if not text:
            return []
        form = self.vocabulary.form
        text = (unicodedata.normalize(form, text) if form else text).replace(" ", SPACE)
        prefix = self.vocabulary.prefix
        if (prefix == "always" or (prefix == "first" and first)) and not text.startswith(SPACE):
            text = SPACE + text
        return cut(text)

    def best(self, word: str, *, without: str | None = None) -> tuple[list[str], float]:
        """The likeliest pieces of a word and their log chance (Viterbi), of equals the longer.

        Args:
            word: of any length.
            without: a piece that may not be used.
        """
        scores = [0.0] + [-math.inf] * len(word)
        starts = [0] * (len(word) + 1)
        for i in range(len(word)):
            single = False
            for j in range(i + 1, min(len(word), i + self._width) + 1):
                score = self._scores.get(word[i:j])
                if score is None or word[i:j] == without:
                    continue
                single |= j == i + 1
                if score + scores[i] > scores[j]:
                    scores[j], starts[j] = score + scores[i], i
            if not single and self._unknown_score + scores[i] > scores[i + 1]:
                scores[i + 1], starts[i + 1] = self._unknown_score + scores[i], i
        pieces: list[str] = []
        end = len(word)
        while end:
            pieces.append(word[starts[end] : end])
            end = starts[end]
        return pieces[::-1], scores[-1]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some pieces; a space that was put first goes.

        Raises:
            ValueError: there is no such piece.
        """
        pieces: list[str] = []
        for number in numbers:
            if number not in self._names:
                raise ValueError(f"no piece {number}")
            pieces.append(self._names[number])
        if pieces and self.vocabulary.prefix != "never":
            pieces[0] = pieces[0].removeprefix(SPACE)
        return "".join(pieces).replace(SPACE, " ")

    def _numbered(self, pieces: list[str]) -> list[int]:
        """Numbers of a word's pieces; neighbours that are unknown are one."""
        numbers, unknown = list[int](), self.vocabulary.unknown
        for is_unknown, group in groupby(
            pieces, lambda p: self._numbers.get(p, unknown) == unknown
        ):
            if is_unknown:
                numbers += self._of_unknown("".join(group))
            else:
                numbers += [self._numbers[piece] for piece in group]
        return numbers

    def _of_unknown(self, stretch: str) -> list[int]:
        if stretch in self._numbers:
            return [self._numbers[stretch]]
        names = [f"<0x{byte:02X}>" for byte in stretch.encode()]
        if self.vocabulary.byte_pieces and all(name in self._numbers for name in names):
            return [self._numbers[name] for name in names]
        return [self.vocabulary.unknown]


def cut(text: str) -> list[str]:
    """Cut a text before each mark."""
    words = text.split(SPACE)
    return [*words[:1], *(SPACE + word for word in words[1:])][0 if words[0] else 1 :]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnigramConfig:
    """How pieces are learnt."""

    vocab: int = 8192
    """Pieces in the end, the unknown one among them; every letter is kept even beyond it."""
    seed: int = 10
    """So many times `vocab` pieces to begin with."""
    longest: int = 16
    """Characters of the longest piece."""
    kept: float = 0.75
    """The share of pieces that a pruning leaves."""

    def __post_init__(self) -> None:
        if min(self.vocab - 1, self.seed, self.longest) < 1:
            raise ValueError(f"seed and longest must be at least 1 and vocab 2: {self}")
        if not 0 < self.kept < 1:
            raise ValueError(f"kept must be in (0, 1), got {self.kept}")


class Arcs(NamedTuple):
    """The arcs of all words, word by word and by where they begin; places are numbered through."""

    begins: Longs
    ends: Longs
    pieces: Longs
    words: Longs  # where the arcs of each word begin, and an end
    counts: Floats  # of the words


def train(texts: Iterable[str], config: UnigramConfig) -> UnigramVocabulary:
    """Learn the pieces of some texts: EM, and dropping those that are missed the least."""
    blank = Unigram(UnigramVocabulary(pieces=[("<unk>", 0.0)]))
    words = Counter(word for text in texts for word in blank.words(text))
    letters = Counter({c: 0.0 for word in words for c in word})
    pieces = seed_pieces(words, config)
    arcs = all_arcs(words, {piece: i for i, piece in enumerate(pieces)}, config.longest)
    names, goal = list(pieces), max(config.vocab - 1, len(letters))
    scores = np.log(np.array(list(pieces.values())) / sum(pieces.values()))
    while True:
        for _ in range(ROUNDS):
            counts, _ = expected_counts(arcs, scores)
            single = np.array([name in letters for name in names])
            names, arcs, counts = kept(names, arcs, counts, single | (counts >= LEAST_EXPECTED))
            scores = maximised(counts)
        if len(names) <= goal:
            break
        single = np.array([name in letters for name in names])
        room = max(goal, int(config.kept * len(names))) - int(single.sum())
        loss = np.where(single, math.inf, losses(names, scores, counts))
        chosen = single.copy()
        chosen[np.argsort(-loss, kind="stable")[: int(single.sum()) + room]] = True
        names, arcs, counts = kept(names, arcs, counts, chosen)
        scores = maximised(counts)
    ranked = sorted(zip(names, scores.tolist(), strict=True), key=lambda p: (-p[1], p[0]))
    return UnigramVocabulary(pieces=[("<unk>", 0.0), *ranked])


def seed_pieces(words: Mapping[str, int], config: UnigramConfig) -> dict[str, float]:
    """Every letter, and the stretches of words that cover the most text; their counts."""
    letters, stretches = Counter[str](), Counter[str]()
    for word, count in words.items():
        for i in range(len(word)):
            letters[word[i]] += count
            for j in range(i + 2, min(len(word), i + config.longest) + 1):
                stretches[word[i:j]] += count
    common = [(count * len(piece), piece) for piece, count in stretches.items() if count > 1]
    common.sort(key=lambda found: (-found[0], found[1]))
    best = {piece: float(covered) for covered, piece in common[: config.seed * config.vocab]}
    return {letter: float(count) for letter, count in sorted(letters.items())} | best


def all_arcs(words: Mapping[str, int], numbers: Mapping[str, int], longest: int) -> Arcs:
    """Every way to go on from every place of every word."""
    found: list[tuple[int, int, int]] = []
    starts, place = [0], 0
    for word in words:
        for i in range(len(word)):
            for j in range(i + 1, min(len(word), i + longest) + 1):
                number = numbers.get(word[i:j])
                if number is not None:
                    found.append((place + i, place + j, number))
        place += len(word) + 1
        starts.append(len(found))
    arcs = np.array(found, dtype=np.int64).reshape(-1, 3).T.copy()
    counts = np.array([*words.values()], dtype=np.float64)
    return Arcs(arcs[0], arcs[1], arcs[2], np.array(starts, dtype=np.int64), counts)


@compiled
def add_logs(a: float, b: float) -> float:
    """log(exp a + exp b)."""
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@compiled
def expected_counts(arcs: Arcs, scores: Floats) -> tuple[Floats, float]:
    """How often each piece is expected, over all rows, and the log chance of all words."""
    expected, total = np.zeros(len(scores)), 0.0
    places = arcs.ends.max() + 1 if len(arcs.ends) else 0
    forward, backward = np.full(places, -np.inf), np.full(places, -np.inf)
    for word in range(len(arcs.words) - 1):
        first, last = arcs.words[word], arcs.words[word + 1]
        if first == last:
            continue
        start, end = arcs.begins[first], arcs.ends[first:last].max()
        forward[start] = backward[end] = 0.0
        for a in range(first, last):
            ahead = forward[arcs.begins[a]] + scores[arcs.pieces[a]]
            forward[arcs.ends[a]] = add_logs(forward[arcs.ends[a]], ahead)
        for a in range(last - 1, first - 1, -1):
            behind = backward[arcs.ends[a]] + scores[arcs.pieces[a]]
            backward[arcs.begins[a]] = add_logs(backward[arcs.begins[a]], behind)
        total += arcs.counts[word] * forward[end]
        for a in range(first, last):
            piece = arcs.pieces[a]
            share = forward[arcs.begins[a]] + scores[piece] + backward[arcs.ends[a]]
            expected[piece] += arcs.counts[word] * np.exp(share - forward[end])
    return expected, total


def maximised(counts: Floats) -> Floats:
    """Log chances from expected counts; the digamma makes what is rare rarer."""
    counts = np.maximum(counts, LEAST_EXPECTED)
    logs: Floats = digamma(counts) - digamma(counts.sum())
    return logs


def kept(
    names: list[str], arcs: Arcs, counts: Floats, chosen: NDArray[np.bool_]
) -> tuple[list[str], Arcs, Floats]:
    """The chosen pieces, numbered anew, and their arcs."""
    numbers, stays = np.cumsum(chosen) - 1, chosen[arcs.pieces]
    before = np.concatenate([[0], np.cumsum(stays)])
    fewer = arcs._replace(
        begins=arcs.begins[stays], ends=arcs.ends[stays], pieces=numbers[arcs.pieces[stays]],
        words=before[arcs.words],
    )  # fmt: skip
    return [name for name, stay in zip(names, chosen, strict=True) if stay], fewer, counts[chosen]


def losses(names: list[str], scores: Floats, counts: Floats) -> Floats:
    """How much less likely the text becomes, about, if a piece gives way to its best rivals."""
    pieces = list(zip(names, scores.tolist(), strict=True))
    model = Unigram(UnigramVocabulary(pieces=pieces))
    found = np.empty(len(names))
    for i, (name, score) in enumerate(pieces):
        found[i] = counts[i] * (score - model.best(name, without=name)[1])
    return found


def likelihood(model: Unigram, texts: Iterable[str]) -> float:
    """The log chance of the best pieces of some texts, in nats."""
    words = Counter(word for text in texts for word in model.words(text))
    return sum(count * model.best(word)[1] for word, count in words.items())
