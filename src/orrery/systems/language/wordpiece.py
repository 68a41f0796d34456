"""WordPiece: a word becomes the longest pieces that a vocabulary has, from the left.

Source: Wu et al. 2016, arXiv:1609.08144, section 4.1; Devlin et al. 2018, arXiv:1810.04805,
section 3, and its released code for what happens before: control characters out, a space around
each Chinese character, accents and capitals off, punctuation apart.
Differs from the papers: pieces are learnt as BPE learns them, by the count of a pair, as the
trainer of the library tokenizers does; the first paper asks for the likelihood's gain.

Symbols: a piece that goes on from another is written with ## before it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import regex

from orrery.catalog import System
from orrery.systems.language.bpe_trainer import Words, learn_merges
from orrery.systems.language.special_tokens import SpecialTokens

SYSTEM = System(
    stem="wordpiece", area="language", title="WordPiece", year=2016,
    papers=("arXiv:1609.08144", "arXiv:1810.04805"), builds_on=("bpe_trainer",),
)  # fmt: skip

PREFIX = "##"
UNKNOWN = "[UNK]"
SPECIALS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")

_CONTROL = regex.compile(r"[\p{Cc}\p{Cf}\p{Co}\ufffd--\t\n\r]", regex.V1)
_CHINESE = regex.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_SPACE = regex.compile(r"\s")
_ACCENT = regex.compile(r"\p{Mn}")
_WORD = regex.compile(r"[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+")
_TIDIED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicTokenizer:
    """What is done to a text before pieces are looked for; the defaults are BERT uncased."""

    clean: bool = True
    """Control characters out; all white space a space."""
    chinese: bool = True
    """Each Chinese character a word."""
    accents: bool = False
    """Whether letters keep their accents."""
    lowercase: bool = True

    def normalise(self, text: str) -> str:
        """The text that is left."""
        if self.clean:
            text = _SPACE.sub(" ", _CONTROL.sub("", text))
        if self.chinese:
            text = _CHINESE.sub(r" \g<0> ", text)
        if not self.accents:
            text = _ACCENT.sub("", unicodedata.normalize("NFD", text))
        if self.lowercase:  # letter by letter: no special sigma at the end of a word
            text = "".join(letter.lower() for letter in text)
        return text

    def words(self, text: str) -> list[str]:
        """The words of a text, each mark of punctuation one."""
        return _WORD.findall(self.normalise(text))


@dataclass(frozen=True, kw_only=True, slots=True)
class WordPieceVocabulary:
    """The pieces by their numbers."""

    pieces: Mapping[str, int]
    basic: BasicTokenizer = BasicTokenizer()
    unknown: str = UNKNOWN
    longest: int = 100
    """A longer word, in characters, is unknown."""
    specials: tuple[str, ...] = ()
    """Pieces that are one token wherever they stand."""

    def __post_init__(self) -> None:
        for piece in (self.unknown, *self.specials):
            if piece not in self.pieces:
                raise ValueError(f"pieces must have {piece!r}")
        if len(set(self.pieces.values())) != len(self.pieces):
            raise ValueError("pieces must have numbers that differ")
        if self.longest < 1:
            raise ValueError(f"longest must be at least 1, got {self.longest}")


class WordPiece:
    """Text to pieces and back."""

    def __init__(self, vocabulary: WordPieceVocabulary) -> None:
        self.vocabulary = vocabulary
        self._pieces = {number: piece for piece, number in vocabulary.pieces.items()}
        self._width = max(map(len, vocabulary.pieces))
        self._specials = SpecialTokens(vocabulary.specials)
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's pieces."""
        numbers: list[int] = []
        for piece, special in self._specials.parts(text):
            if special:
                numbers.append(self.vocabulary.pieces[piece])
                continue
            for word in self.vocabulary.basic.words(piece):
                if word not in self._known:
                    self._known[word] = self.encode_word(word)
                numbers += self._known[word]
        return numbers

    def encode_word(self, word: str) -> list[int]:
        """The longest piece that begins the word, then the longest that goes on, and so forth."""
        pieces, numbers, start = self.vocabulary.pieces, list[int](), 0
        if len(word) > self.vocabulary.longest:
            return [pieces[self.vocabulary.unknown]]
        while start < len(word):
            prefix = PREFIX if start else ""
            for end in range(min(len(word), start + self._width), start, -1):
                piece = prefix + word[start:end]
                if piece in pieces:
                    numbers.append(pieces[piece])
                    start = end
                    break
            else:
                return [pieces[self.vocabulary.unknown]]
        return numbers

    def decode(self, numbers: Iterable[int]) -> str:
        """The pieces as a text, with no space before punctuation.

        Raises:
            ValueError: there is no such piece.
        """
        text = ""
        for i, number in enumerate(numbers):
            if number not in self._pieces:
                raise ValueError(f"no piece {number}")
            piece = self._pieces[number]
            if i:
                goes_on = piece.startswith(PREFIX)
                piece = piece.removeprefix(PREFIX) if goes_on else f" {piece}"
            for untidy, tidy in _TIDIED:
                piece = piece.replace(untidy, tidy)
            text += piece
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class WordPieceConfig:
    """How pieces are learnt."""

    vocab: int = 8192
    """Pieces in the end, if pairs suffice; letters are all kept even beyond it."""
    least: int = 1
    """A pair that is less common does not become a piece."""
    specials: tuple[str, ...] = SPECIALS
    basic: BasicTokenizer = BasicTokenizer()

    def __post_init__(self) -> None:
        if min(self.vocab, self.least) < 1:
            raise ValueError(f"vocab and least must be at least 1: {self}")
        if UNKNOWN not in self.specials:
            raise ValueError(f"specials must have {UNKNOWN}: {self.specials}")


def train(texts: Iterable[str], config: WordPieceConfig) -> WordPieceVocabulary:
    """Learn the pieces of some texts: letters, then the commonest pairs joined."""
    counts = Counter(word for text in texts for word in config.basic.words(text))
    pieces = {special: number for number, special in enumerate(config.specials)}
    for letter in sorted({letter for word in counts for letter in word}):
        pieces.setdefault(letter, len(pieces))
    first = len(config.specials)
    for letter in sorted({letter for word in counts for letter in word[1:]}):
        pieces.setdefault(PREFIX + letter, len(pieces))
    names = [*pieces]
    sizes = np.array([len(word) for word in counts], dtype=np.int64)
    symbols = np.array(
        [pieces[PREFIX + x if i else x] for word in counts for i, x in enumerate(word)], np.int32
    )
    words = Words(symbols, np.cumsum(sizes) - sizes, sizes, np.array([*counts.values()], np.int64))
    contents = [_content(name, special=i < first) for i, name in enumerate(names)]
    for left, right, whole in learn_merges(words, contents, config.vocab, config.least):
        if whole == len(names):
            names.append(names[left] + names[right].removeprefix(PREFIX))
            pieces[names[-1]] = whole
    return WordPieceVocabulary(pieces=pieces, basic=config.basic, specials=config.specials)


def _content(name: str, *, special: bool) -> bytes:
    """A piece for the trainer: a byte that says how it stands, then its letters."""
    goes_on = name.startswith(PREFIX) and len(name) > len(PREFIX)
    letters = name.removeprefix(PREFIX) if goes_on else name
    return (b"\2" if special else b"\1" if goes_on else b"\0") + letters.encode()
