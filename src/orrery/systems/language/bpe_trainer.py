"""Learning BPE merges by arrays: counts that are kept up to date in place of counted anew.

Source: Sennrich et al. 2016, arXiv:1508.07909, section 3.2, for counting words once and for an
index from pairs to the words that have them; the queue that is put right only where it is read is
the trainer's of the library tokenizers.
Differs from the paper: as `bpe` does; from `bpe` in nothing that comes out. In the library's
trainer a pair that has been merged keeps its count, which could show where a later merge
makes one of its halves again; here it counts nothing from then on.

Symbols: a pair is one number, left * 2^32 + right, and has its place in the index by the order in
which it came; a word is a stretch of `symbols`, shortened in place.
"""

from collections import Counter
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from orrery.catalog import System
from orrery.systems.language.bpe import ALPHABET, BpeConfig, BpeVocabulary
from orrery.systems.language.bpe_fast import slot_of
from orrery.systems.language.word_scanner import STYLES, classes, int64, word_end
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="bpe_trainer", area="language", title="Learning BPE merges by arrays", year=2016,
    papers=("arXiv:1508.07909",), builds_on=("bpe", "bpe_fast", "word_scanner"),
)  # fmt: skip

Bytes = NDArray[np.uint8]
Ids = NDArray[np.int32]
Longs = NDArray[np.int64]
LOW = (1 << 32) - 1
CHUNK = 1 << 24  # bytes of text that are counted together


class Index(NamedTuple):
    """All pairs that ever were, and how often each occurs now."""

    slots: Ids  # open addressing: number of the pair and 1, or 0
    keys: Longs  # by number
    counts: Longs
    chains: Longs  # by number: the newest entry of its list of words
    steps: Longs  # by number: the last step that made it more common
    size: Longs  # of length 1: how many pairs


class Words(NamedTuple):
    """Every distinct word: where its symbols begin, how many are left, how often it occurs."""

    symbols: Ids
    starts: Longs
    sizes: Longs
    counts: Longs


Lists = tuple[list[tuple[int, int]], list[int]]
"""Entries (word, entry before it) of the lists of words, and the pairs that this step made."""


class Contents(NamedTuple):
    """The bytes of every token, one after another, and a table to find a token by its bytes."""

    data: Bytes
    ends: Longs
    slots: Ids


@compiled
def count_words(data: Bytes, ends: Longs, kinds: Bytes, style: int) -> tuple[Longs, Longs, Longs]:
    """Where each distinct word begins and ends, and its count; texts end at `ends`."""
    slots = np.zeros(1 << 12, np.int32)
    found = [(int64(0), int64(0))]
    counts, i = [int64(0)], 0  # word 0 is none
    for stop in ends:
        while i < stop:
            end = word_end(data, i, stop, kinds, style)
            slot = _word_slot(data, i, end, slots, found)
            if slots[slot]:
                counts[slots[slot]] += 1
            else:
                slots[slot] = len(found)
                found.append((int64(i), int64(end)))
                counts.append(int64(1))
                if 2 * len(found) > len(slots):
                    slots = np.zeros(2 * len(slots), np.int32)
                    for word in range(1, len(found)):
                        a, b = found[word]
                        slots[_word_slot(data, a, b, slots, found)] = word
            i = end
    places = np.array(found)
    return places[1:, 0].copy(), places[1:, 1].copy(), np.array(counts[1:])


@compiled
def hash_of(data: Bytes, start: int, end: int) -> int:
    """A number for some bytes."""
    mixed = int64(end - start)
    for i in range(start, end):
        mixed = (mixed ^ int64(data[i])) * 1099511628211  # the prime of the FNV hash
    return mixed


@compiled
def equal(data: Bytes, a: int, a_end: int, other: Bytes, b: int, b_end: int) -> bool:
    """Whether two stretches hold the same bytes."""
    same = a_end - a == b_end - b
    while same and a < a_end:
        same = data[a] == other[b]
        a, b = a + 1, b + 1
    return same


@compiled
def _word_slot(data: Bytes, start: int, end: int, slots: Ids, found: list[tuple[int, int]]) -> int:
    mask = len(slots) - 1
    slot = slot_of(hash_of(data, start, end), mask)
    while slots[slot]:
        a, b = found[slots[slot]]
        if equal(data, start, end, data, a, b):
            break
        slot = (slot + 1) & mask
    return slot


@compiled
def empty_index() -> Index:
    """No pair yet."""
    size = 1 << 15
    return Index(
        np.zeros(2 * size, np.int32), np.empty(size, np.int64), np.empty(size, np.int64),
        np.empty(size, np.int64), np.empty(size, np.int64), np.zeros(1, np.int64),
    )  # fmt: skip


@compiled
def with_room(index: Index, more: int) -> Index:
    """The index, enlarged if `more` pairs would fill half of it."""
    size = index.size[0]
    if 2 * (size + more) <= len(index.slots):
        return index
    length = len(index.slots)
    while 2 * (size + more) > length:
        length *= 2
    larger = Index(
        np.zeros(length, np.int32), np.empty(length // 2, np.int64),
        np.empty(length // 2, np.int64), np.empty(length // 2, np.int64),
        np.empty(length // 2, np.int64), index.size,
    )  # fmt: skip
    larger.keys[:size] = index.keys[:size]
    larger.counts[:size] = index.counts[:size]
    larger.chains[:size] = index.chains[:size]
    larger.steps[:size] = index.steps[:size]
    for number in range(size):
        slot = slot_of(larger.keys[number], length - 1)
        while larger.slots[slot]:
            slot = (slot + 1) & (length - 1)
        larger.slots[slot] = number + 1
    return larger


@compiled
def number_of(index: Index, left: int, right: int) -> int:
    """The number of a pair, a new one if it has none."""
    key, mask = int64(left) << 32 | int64(right), len(index.slots) - 1
    slot = slot_of(key, mask)
    while index.slots[slot]:
        number = int64(index.slots[slot]) - 1
        if index.keys[number] == key:
            return number
        slot = (slot + 1) & mask
    number = index.size[0]
    index.size[0] += 1
    index.slots[slot] = number + 1
    index.keys[number], index.counts[number] = key, 0
    index.chains[number], index.steps[number] = -1, -1
    return number


@compiled
def note(index: Index, lists: Lists, step: int, pair: int, word: int, count: int) -> None:
    """A word has the pair once more: count it, and list the word once."""
    entries, touched = lists
    index.counts[pair] += count
    if index.steps[pair] != step:
        index.steps[pair] = step
        touched.append(pair)
    newest = index.chains[pair]
    if newest < 0 or entries[newest][0] != word:
        entries.append((int64(word), newest))
        index.chains[pair] = len(entries) - 1


@compiled
def merge_word(
    words: Words, word: int, merge: tuple[int, int, int], index: Index, lists: Lists, step: int
) -> None:
    """Merge a pair wherever the word has it; the counts of its neighbours follow."""
    left, right, whole = merge
    start, size, count = words.starts[word], words.sizes[word], words.counts[word]
    symbols = words.symbols[start : start + size]
    i, kept = 0, 0
    while i < size:
        if symbols[i] != left or i + 1 == size or symbols[i + 1] != right:
            symbols[kept] = symbols[i]
            i, kept = i + 1, kept + 1
            continue
        index.counts[number_of(index, left, right)] -= count
        if kept:
            before = symbols[kept - 1]
            index.counts[number_of(index, before, left)] -= count
            note(index, lists, step, number_of(index, before, whole), word, count)
        symbols[kept] = whole
        i, kept = i + 2, kept + 1
        if i < size:
            index.counts[number_of(index, right, symbols[i])] -= count
            note(index, lists, step, number_of(index, whole, symbols[i]), word, count)
    words.sizes[word] = kept


@compiled
def token_of(contents: Contents, token: Bytes, tokens: int) -> tuple[int, int]:
    """The token that has these bytes, or the next new number; and its slot in the table."""
    mask = len(contents.slots) - 1
    slot = slot_of(hash_of(token, 0, len(token)), mask)
    while contents.slots[slot]:
        number = int64(contents.slots[slot]) - 1
        start = contents.ends[number - 1] if number else 0
        if equal(token, 0, len(token), contents.data, start, contents.ends[number]):
            return number, slot
        slot = (slot + 1) & mask
    return tokens, slot


@compiled
def with_token(contents: Contents, left: int, right: int, tokens: int) -> tuple[Contents, int]:
    """The number of the token that two tokens make, and the contents with it.

    The first byte of a content says whether the token goes on from another: it is left's.
    """
    ends = contents.ends
    a = contents.data[(ends[left - 1] if left else 0) : ends[left]]
    b = contents.data[(ends[right - 1] if right else 0) + 1 : ends[right]]
    token = np.concatenate((a, b))
    whole, slot = token_of(contents, token, tokens)
    if whole == tokens:
        start, data = ends[whole - 1], contents.data
        if start + len(token) > len(data):
            data = np.empty(2 * (start + len(token)), np.uint8)
            data[:start] = contents.data[:start]
        data[start : start + len(token)] = token
        ends[whole] = start + len(token)
        contents.slots[slot] = whole + 1
        contents = Contents(data, ends, contents.slots)
    return contents, whole


@compiled
def all_pairs(words: Words, index: Index, lists: Lists) -> Index:
    """The index with every pair of every word."""
    for word in range(len(words.starts)):
        start, size = words.starts[word], words.sizes[word]
        index = with_room(index, size)
        for i in range(start, start + size - 1):
            pair = number_of(index, words.symbols[i], words.symbols[i + 1])
            note(index, lists, 0, pair, word, words.counts[word])
    return index


@compiled
def learn(words: Words, contents: Contents, tokens: int, vocab: int, least: int) -> Longs:
    """Merges (left, right, whole) until there are `vocab` tokens or no pair occurs `least` times.

    `contents` has room for `vocab` tokens; the first `tokens` are there.
    """
    index, lists = empty_index(), ([(int64(0), int64(-1))], [int64(0)])
    entries, touched = lists
    touched.clear()
    index = all_pairs(words, index, lists)
    heap = [(-index.counts[pair], index.keys[pair]) for pair in touched]
    heapify(heap)
    merges = [(int64(0), int64(0), int64(0))]
    while tokens < vocab and len(heap):
        minus, key = heappop(heap)
        left, right = key >> 32, key & LOW
        pair = number_of(index, left, right)
        if index.counts[pair] != -minus:  # less common than when it was queued
            if index.counts[pair] > 0:
                heappush(heap, (-index.counts[pair], key))
            continue
        if index.counts[pair] < least:
            break
        contents, whole = with_token(contents, left, right, tokens)
        tokens = max(tokens, whole + 1)
        merges.append((left, right, whole))
        entry, index.chains[pair] = index.chains[pair], -1
        touched.clear()
        while entry >= 0:
            word, entry = entries[entry]
            index = with_room(index, 4 * words.sizes[word])
            merge_word(words, word, merges[-1], index, lists, len(merges))
        for pair in touched:
            if index.counts[pair] > 0:
                heappush(heap, (-index.counts[pair], index.keys[pair]))
    found = np.empty((len(merges) - 1, 3), np.int64)
    for i in range(len(found)):
        found[i, 0], found[i, 1], found[i, 2] = merges[i + 1]
    return found


def train(texts: Iterable[str], config: BpeConfig) -> BpeVocabulary:
    """Learn the merges of some texts: those of `bpe.train`."""
    words = count_texts(texts, config.pattern)
    first = len(config.specials)
    numbers = np.empty(256, dtype=np.int32)
    numbers[list(ALPHABET)] = np.arange(256)
    data = np.frombuffer(b"".join(words), np.uint8)
    sizes = np.array([len(word) for word in words], dtype=np.int64)
    counts = np.array([*words.values()], dtype=np.int64)
    contents = [b"\0" + bytes([byte]) for byte in ALPHABET]
    merges = learn_merges(
        Words(numbers[data], np.cumsum(sizes) - sizes, sizes, counts),
        contents, config.vocab - first, config.least,
    )  # fmt: skip
    tokens = [bytes([byte]) for byte in ALPHABET]
    for left, right, whole in merges:
        if whole == len(tokens):
            tokens.append(tokens[left] + tokens[right])
    return BpeVocabulary(
        tokens={first + i: token for i, token in enumerate(tokens)},
        merges=[(first + a, first + b, first + c) for a, b, c in merges],
        pattern=config.pattern,
        specials={text: number for number, text in enumerate(config.specials)},
    )


def learn_merges(
    words: Words, contents: list[bytes], vocab: int, least: int
) -> list[tuple[int, int, int]]:
    """Merges of words whose symbols are numbers of `contents`, as triples (left, right, whole).

    The first byte of a content is 1 for a token that goes on from another, 0 for one that begins.
    """
    joined = np.frombuffer(b"".join(contents), np.uint8)
    ends = np.zeros(max(vocab, len(contents)), np.int64)
    ends[: len(contents)] = np.cumsum([len(content) for content in contents])
    slots = np.zeros(1 << (4 * len(ends)).bit_length(), np.int32)
    known = Contents(joined.copy(), ends, slots)
    for number, content in enumerate(contents):
        _, slot = token_of(known, np.frombuffer(content, np.uint8), number)
        slots[slot] = number + 1
    return [(a, b, c) for a, b, c in learn(words, known, len(contents), vocab, least).tolist()]


def count_texts(texts: Iterable[str], pattern: str) -> dict[bytes, int]:
    """How often each word occurs."""
    style, counts = STYLES.get(pattern), Counter[bytes]()
    if style is None:
        cut = regex.compile(pattern)
        for text in texts:
            counts.update(match[0].encode() for match in cut.finditer(text))
        return counts
    raw: list[bytes] = []
    size = 0
    for text in texts:
        raw.append(text.encode())
        size += len(raw[-1])
        if size > CHUNK:
            counts.update(_count(raw, style))
            raw, size = [], 0
    counts.update(_count(raw, style))
    return counts


def _count(raw: list[bytes], style: int) -> dict[bytes, int]:
    joined = b"".join(raw)
    ends = np.cumsum([len(part) for part in raw], dtype=np.int64)
    starts, stops, counts = count_words(np.frombuffer(joined, np.uint8), ends, classes(), style)
    places = zip(starts.tolist(), stops.tolist(), counts.tolist(), strict=True)
    return {joined[a:b]: count for a, b, count in places}
