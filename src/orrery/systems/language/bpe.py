"""Byte-level BPE: start from single bytes, and merge the commonest pair again and again.

Source: Gage 1994, "A New Algorithm for Data Compression", C Users Journal 12(2), for the merges;
Sennrich et al. 2016, arXiv:1508.07909, algorithm 1, for merging inside words that are counted
once; Radford et al. 2019, section 2.2, for bytes in place of characters and the pattern that cuts
text into words.
Differs from the papers: of pairs that are equally common the one of the lower numbers is merged
first, as in the library tokenizers. A merge may make a token that other merges make too: it
keeps its number.

Written the plain way: every merge counts all pairs anew, and a word is merged by looking for its
best pair again and again. `bpe_fast` does the same by arrays.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import regex

from orrery.catalog import System
from orrery.systems.language.special_tokens import SpecialTokens

SYSTEM = System(
    stem="bpe", area="language", title="Byte-level BPE", year=2016,
    papers=("arXiv:1508.07909", "Radford et al. 2019"), builds_on=(),
    realises=("bpe-tokenizer",),
)  # fmt: skip

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (  # with no possessive quantifier: engines differ in what {1,3}+ means
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS: Mapping[str, str] = {"gpt2": GPT2, "cl100k": CL100K, "o200k": O200K}

Pair = tuple[int, int]
PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
ALPHABET = (*PRINTABLE, *(byte for byte in range(256) if byte not in PRINTABLE))
"""All bytes in GPT-2's order: those that Latin-1 prints, then the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BpeConfig:
    """How a vocabulary is learnt."""

    vocab: int = 8192
    """Tokens in the end: special ones, the 256 bytes, and one for each merge."""
    pattern: str = GPT2
    """Cuts a text into words; no merge crosses from one to the next."""
    least: int = 1
    """A pair that is less common is not merged."""
    specials: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        smallest = 256 + len(self.specials)
        if self.vocab < smallest:
            raise ValueError(f"vocab must be at least {smallest}, got {self.vocab}")
        if self.least < 1:
            raise ValueError(f"least must be at least 1, got {self.least}")
        if len(set(self.specials)) != len(self.specials) or "" in self.specials:
            raise ValueError(f"specials must differ and not be empty: {self.specials}")
        try:
            regex.compile(self.pattern)
        except regex.error as error:
            raise ValueError(f"pattern must be a regular expression: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class BpeVocabulary:
    """What was learnt, or read from a file."""

    tokens: Mapping[int, bytes]
    """By number; every single byte is among them, unless `drops`."""
    merges: Sequence[tuple[int, int, int]]
    """Left, right and what they become, in the order of their rank: the first comes first."""
    pattern: str = GPT2
    specials: Mapping[str, int] = field(default_factory=dict)
    """Strings that are one token wherever they stand; their numbers."""
    whole_words: bool = False
    """A word that is a token is taken whole, whatever the merges would make of it."""
    prefix_space: bool = False
    """A text that does not begin with a space is given one."""
    drops: bool = False
    """Bytes that have no token are left out of a text."""

    def __post_init__(self) -> None:
        missing = set(range(256)) - {t[0] for t in self.tokens.values() if len(t) == 1}
        if missing and not self.drops:
            raise ValueError(f"tokens must have every byte; {len(missing)} are missing")
        for left, right, whole in self.merges:
            if not {left, right, whole} <= self.tokens.keys():
                raise ValueError(f"a merge must be of tokens: {left}, {right}, {whole}")
            if self.tokens[left] + self.tokens[right] != self.tokens[whole]:
                raise ValueError(f"a merge must make its token: {left}, {right}, {whole}")

    def bytes_of(self, number: int) -> bytes:
        """The bytes of a token, special ones too.

        Raises:
            ValueError: there is no such token.
        """
        if number in self.tokens:
            return self.tokens[number]
        for text, special in self.specials.items():
            if special == number:
                return text.encode()
        raise ValueError(f"no token {number}")

    def parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """The text between special tokens, and these with their numbers."""
        for piece, special in SpecialTokens(self.specials).parts(text):
            if special:
                yield piece, self.specials[piece]
            elif piece:
                space = self.prefix_space and not piece.startswith(" ")
                yield (" " + piece if space else piece), None


class Bpe:
    """Text to tokens and back, the plain way."""

    def __init__(self, vocabulary: BpeVocabulary) -> None:
        self.vocabulary = vocabulary
        self._numbers = {token: number for number, token in vocabulary.tokens.items()}
        self._merges = {
            (left, right): (rank, whole)  # of a pair named twice the later rank counts
            for rank, (left, right, whole) in enumerate(vocabulary.merges)
        }
        self._pattern = regex.compile(vocabulary.pattern)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        numbers: list[int] = []
        for part, special in self.vocabulary.parts(text):
            if special is not None:
                numbers.append(special)
            else:
                for match in self._pattern.finditer(part):
                    numbers += self.encode_word(match[0].encode())
        return numbers

    def encode_word(self, word: bytes) -> list[int]:
        """Merge the pair of the least rank, of equals the leftmost, until no pair is left."""
        if self.vocabulary.whole_words and word in self._numbers:
            return [self._numbers[word]]
        letters = (word[i : i + 1] for i in range(len(word)))
        numbers = [self._numbers[letter] for letter in letters if letter in self._numbers]
        while len(numbers) > 1:
            ranked = [
                (*self._merges[pair], i)
                for i, pair in enumerate(pairwise(numbers))
                if pair in self._merges
            ]
            if not ranked:
                break
            _, whole, place = min(ranked, key=lambda found: (found[0], found[2]))
            numbers[place : place + 2] = [whole]
        return numbers

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some tokens; bytes that are no UTF-8 become the replacement character.

        Raises:
            ValueError: there is no such token.
        """
        return b"".join(map(self.vocabulary.bytes_of, numbers)).decode(errors="replace")


def train(texts: Iterable[str], config: BpeConfig) -> BpeVocabulary:
    """Learn the merges of some texts."""
    cut = regex.compile(config.pattern)
    counts = Counter(match[0].encode() for text in texts for match in cut.finditer(text))
    first = len(config.specials)
    tokens = {first + i: bytes([byte]) for i, byte in enumerate(ALPHABET)}
    numbers = {token: number for number, token in tokens.items()}
    words = [
        ([numbers[word[i : i + 1]] for i in range(len(word))], n) for word, n in counts.items()
    ]
    merges: list[tuple[int, int, int]] = []
    while first + len(tokens) < config.vocab:
        pairs: Counter[Pair] = Counter()
        for word, count in words:
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[left, right] < config.least:
            break
        token = tokens[left] + tokens[right]
        whole = numbers.setdefault(token, first + len(tokens))
        tokens[whole] = token
        merges.append((left, right, whole))
        words = [(merge(word, left, right, whole), count) for word, count in words]
    return BpeVocabulary(
        tokens=tokens, merges=merges, pattern=config.pattern,
        specials={text: number for number, text in enumerate(config.specials)},
    )  # fmt: skip


def merge(word: list[int], left: int, right: int, whole: int) -> list[int]:
    """The word with each `left` before a `right` become `whole`, from the left."""
    merged: list[int] = []
    i = 0
    while i < len(word):
        if word[i] == left and i + 1 < len(word) and word[i + 1] == right:
            merged.append(whole)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged
