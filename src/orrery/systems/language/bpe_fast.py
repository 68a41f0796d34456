"""Byte-level BPE by arrays: the tokens of `bpe`, from compiled loops.

Source: as `bpe`. One pass over a text's bytes finds words; a short word is looked up in a table
of those met before; a new one is merged with the ranks of its neighbouring pairs kept in an
array, so that a merge costs two look-ups. A long word keeps them in a heap in addition.
Differs from the papers: as `bpe` does; from `bpe` in nothing that comes out.

Symbols: a pair is one number, left * 2^32 + right; a table is open addressing, its length a power
of two.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from orrery.catalog import System
from orrery.systems.language.bpe import Bpe, BpeVocabulary
from orrery.systems.language.word_scanner import STYLES, classes, int64, word_end
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="bpe_fast", area="language", title="Byte-level BPE by arrays", year=2016,
    papers=("arXiv:1508.07909",), builds_on=("bpe", "word_scanner"),
)  # fmt: skip

Bytes = NDArray[np.uint8]
Ids = NDArray[np.int32]
Longs = NDArray[np.int64]
SHORT = 16  # bytes of a word that is remembered: it fits in two numbers
LONG = 128  # symbols from which on a heap pays
REMEMBERED = 1 << 15
NEVER = np.iinfo(np.int32).max  # rank of a pair that does not merge
SPREAD = -7046029254386353131  # 2^64 over the golden ratio, as a signed number: spreads keys


class Pairs(NamedTuple):
    """The table of merges."""

    keys: Longs
    ranks: Ids
    wholes: Ids


class MetWords(NamedTuple):
    """Words met before and their tokens; a new word takes the place of one of the same slot."""

    first: Longs
    second: Longs
    sizes: NDArray[np.uint8]  # 0: nothing there
    counts: NDArray[np.uint8]
    tokens: Ids


@compiled
def slot_of(key: int, mask: int) -> int:
    """Where to look for a key first."""
    mixed = key * SPREAD
    return (mixed ^ (mixed >> 32)) & mask


@compiled
def fill(pairs: Pairs, merges: Longs) -> None:
    """Put merges (left, right, whole) in the table; of a pair named twice the later one counts."""
    mask = len(pairs.keys) - 1
    for rank in range(len(merges)):
        key = merges[rank, 0] << 32 | merges[rank, 1]
        slot = slot_of(key, mask)
        while pairs.keys[slot] not in (-1, key):
            slot = (slot + 1) & mask
        pairs.keys[slot] = key
        pairs.ranks[slot] = merges[rank, 3]
        pairs.wholes[slot] = merges[rank, 2]


@compiled
def look_up(pairs: Pairs, left: int, right: int) -> tuple[int, int]:
    """The rank of a pair and what it becomes."""
    mask, key = len(pairs.keys) - 1, int64(left) << 32 | int64(right)
    slot = slot_of(key, mask)
    while pairs.keys[slot] != -1:
        if pairs.keys[slot] == key:
            return int64(pairs.ranks[slot]), int64(pairs.wholes[slot])
        slot = (slot + 1) & mask
    return NEVER, -1


@compiled
def merge_short(symbols: Ids, count: int, ranks: Ids, wholes: Ids, pairs: Pairs) -> int:
    """Merge the first `count` symbols in place; returns how many are left."""
    for i in range(count - 1):
        ranks[i], wholes[i] = look_up(pairs, symbols[i], symbols[i + 1])
    while count > 1:
        best = 0
        for i in range(1, count - 1):
            if ranks[i] < ranks[best]:
                best = i
        if ranks[best] == NEVER:
            break
        symbols[best] = wholes[best]
        for i in range(best + 1, count - 1):
            symbols[i], ranks[i], wholes[i] = symbols[i + 1], ranks[i + 1], wholes[i + 1]
        count -= 1
        if best < count - 1:
            ranks[best], wholes[best] = look_up(pairs, symbols[best], symbols[best + 1])
        if best > 0:
            ranks[best - 1], wholes[best - 1] = look_up(pairs, symbols[best - 1], symbols[best])
    return count


@compiled
def queue(
    heap: list[tuple[int, int, int, int]], symbols: Ids, i: int, j: int, pairs: Pairs
) -> None:
    """Put the merge of the symbols at i and j in the heap, if they merge."""
    rank, _ = look_up(pairs, symbols[i], symbols[j])
    if rank != NEVER:
        heappush(heap, (rank, int64(i), int64(symbols[i]), int64(symbols[j])))


@compiled
def merge_long(symbols: Ids, count: int, pairs: Pairs) -> int:
    """The same for a long word: the next merge comes from a heap, neighbours are linked."""
    after = np.arange(1, count + 1)
    before = np.arange(-1, count - 1)
    heap = [(int64(NEVER), int64(0), int64(-1), int64(-1))]
    for i in range(count - 1):
        queue(heap, symbols, i, i + 1, pairs)
    while heap[0][0] != NEVER:
        _, i, left, right = heappop(heap)
        j = after[i]
        if j >= count or symbols[i] != left or symbols[j] != right:
            continue  # one of the two has merged with another since
        symbols[i] = look_up(pairs, left, right)[1]
        symbols[j] = -1
        after[i] = after[j]
        if after[i] < count:
            before[after[i]] = i
        for k in (before[i], i):
            if k >= 0 and after[k] < count:
                queue(heap, symbols, k, after[k], pairs)
    kept = 0
    for i in range(count):
        if symbols[i] >= 0:
            symbols[kept] = symbols[i]
            kept += 1
    return kept


@compiled
def packed(data: Bytes, start: int, end: int) -> int:
    """Up to eight bytes as one number."""
    key = int64(0)
    for i in range(start, end):
        key = key << 8 | int64(data[i])
    return key


@compiled
def encode_word(
    data: Bytes, start: int, end: int, out: Ids, spare: tuple[Ids, Ids], bytes_to: Ids, pairs: Pairs
) -> int:
    """Write a word's tokens to `out`; returns how many. Bytes that have none are left out."""
    count = 0
    for i in range(start, end):
        if bytes_to[data[i]] >= 0:
            out[count] = bytes_to[data[i]]
            count += 1
    if count > LONG:
        return merge_long(out, count, pairs)
    return merge_short(out, count, spare[0], spare[1], pairs)


@compiled
def encode_words(
    data: Bytes, ends: Longs, out: Ids, bytes_to: Ids, pairs: Pairs, memory: MetWords,
    kinds: Bytes, style: int,
) -> None:  # fmt: skip
    """The tokens of texts that lie one after another; `ends` becomes where their tokens end."""
    spare = (np.empty(LONG, np.int32), np.empty(LONG, np.int32))
    mask, written, i = len(memory.sizes) - 1, 0, 0
    for text in range(len(ends)):
        stop = ends[text]
        while i < stop:
            end = word_end(data, i, stop, kinds, style)
            size = end - i
            if size > SHORT:
                written += encode_word(data, i, end, out[written:], spare, bytes_to, pairs)
                i = end
                continue
            first = packed(data, i, min(i + 8, end))
            second = packed(data, i + 8, end)
            slot = slot_of(first ^ (second * SPREAD) + size, mask)
            tokens = memory.tokens[slot]
            if (
                memory.sizes[slot] == size
                and memory.first[slot] == first
                and memory.second[slot] == second
            ):
                count = int64(memory.counts[slot])
                for k in range(count):
                    out[written + k] = tokens[k]
            else:
                count = encode_word(data, i, end, out[written:], spare, bytes_to, pairs)
                memory.sizes[slot], memory.counts[slot] = size, count
                memory.first[slot], memory.second[slot] = first, second
                tokens[:count] = out[written : written + count]
            written += count
            i = end
        ends[text] = written


class FastBpe:
    """Text to tokens and back: what `Bpe` does, from compiled loops."""

    def __init__(self, vocabulary: BpeVocabulary) -> None:
        self.vocabulary = vocabulary
        self._plain = Bpe(vocabulary)
        self._bytes = np.full(256, -1, dtype=np.int32)
        for number, token in vocabulary.tokens.items():
            if len(token) == 1:
                self._bytes[token[0]] = number
        self._pairs = table(vocabulary)
        self._style = STYLES.get(vocabulary.pattern)
        self._pattern = regex.compile(vocabulary.pattern)
        self._known = self._whole_words() if vocabulary.whole_words else {}
        if self._known:
            self._style = None
        last = max((*vocabulary.tokens, *vocabulary.specials.values()))
        self._tokens: list[bytes | None] = [None] * (last + 1)
        for number, token in vocabulary.tokens.items():
            self._tokens[number] = token
        for text, number in vocabulary.specials.items():
            self._tokens[number] = text.encode()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.encode_batch([text])[0]

    def encode_array(self, text: str) -> Ids:
        """The same as an array."""
        pieces = [
            np.array([special], np.int32) if special is not None else self._arrays([part])[0]
            for part, special in self.vocabulary.parts(text)
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int32)

    def encode_batch(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """The tokens of each text.

        Args:
            texts: any number.
            threads: at least 1; each takes an equal share of the texts.
        """
        if self.vocabulary.specials or self.vocabulary.prefix_space:
            return [self.encode_array(text).tolist() for text in texts]
        share = -(-len(texts) // max(1, threads)) or 1
        parts = [texts[i : i + share] for i in range(0, len(texts), share)]
        if len(parts) < 2:
            return [array.tolist() for part in parts for array in self._arrays(part)]
        with ThreadPoolExecutor(len(parts)) as pool:
            return [array.tolist() for part in pool.map(self._arrays, parts) for array in part]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some tokens; bytes that are no UTF-8 become the replacement character.

        Raises:
            ValueError: there is no such token.
        """
        numbers = list(numbers)
        try:
            if numbers and min(numbers) < 0:
                raise IndexError
            return b"".join([self._tokens[i] for i in numbers]).decode(errors="replace")  # type: ignore[misc]
        except (IndexError, TypeError):
            return self._plain.decode(numbers)  # names the token that is wrong

    def _arrays(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text, special tokens not looked for."""
        if self._style is None:
            return [self._by_pattern(text) for text in texts]
        raw = [text.encode() for text in texts]
        ends = np.cumsum([len(part) for part in raw], dtype=np.int64)
        data = np.frombuffer(b"".join(raw), np.uint8)
        out = np.empty(len(data) + 1, dtype=np.int32)
        encode_words(data, ends, out, self._bytes, self._pairs, memory(), classes(), self._style)
        return np.split(out[: ends[-1]], ends[:-1])

    def _by_pattern(self, text: str) -> Ids:
        """Words from the regular expression, each encoded once."""
        known, tokens = dict(self._known), list[int]()
        for match in self._pattern.finditer(text):
            word = match[0]
            if word not in known:
                known[word] = self._word(word.encode())
            tokens += known[word]
        return np.array(tokens, dtype=np.int32)

    def _word(self, word: bytes) -> list[int]:
        spare = (np.empty(LONG, np.int32), np.empty(LONG, np.int32))
        out = np.empty(len(word), dtype=np.int32)
        data = np.frombuffer(word, np.uint8)
        count = encode_word(data, 0, len(data), out, spare, self._bytes, self._pairs)
        return out[:count].tolist()

    def _whole_words(self) -> dict[str, list[int]]:
        """The tokens that their own bytes would not merge to."""
        found: dict[str, list[int]] = {}
        for number, token in self.vocabulary.tokens.items():
            if self._word(token) != [number]:
                try:
                    found[token.decode()] = [number]
                except UnicodeDecodeError:
                    continue  # no text has this word
        return found


def memory() -> MetWords:
    """An empty one."""
    return MetWords(
        first=np.empty(REMEMBERED, np.int64), second=np.empty(REMEMBERED, np.int64),
        sizes=np.zeros(REMEMBERED, np.uint8), counts=np.empty(REMEMBERED, np.uint8),
        tokens=np.empty((REMEMBERED, SHORT), np.int32),
    )  # fmt: skip


def table(vocabulary: BpeVocabulary) -> Pairs:
    """The merges of a vocabulary, to look up."""
    merges = np.array(
        [(*merge, rank) for rank, merge in enumerate(vocabulary.merges)], dtype=np.int64
    ).reshape(-1, 4)
    size = 1 << max(4, (2 * len(merges)).bit_length())
    pairs = Pairs(np.full(size, -1, np.int64), np.empty(size, np.int32), np.empty(size, np.int32))
    fill(pairs, merges)
    return pairs
