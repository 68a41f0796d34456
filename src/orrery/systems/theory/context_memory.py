"""Context memory: what followed, each time the text stood like this before.

Eleven contexts are looked up for every byte: the last one to six bytes; the word so far, alone
and with one or another word before it; the column and the character above; how the line began.
A context's hash leads to a bucket, a check word and the 15 nodes that the four bits of half a
byte can reach, together one cache line; a node holds a chance and a bit history (see
`bit_history`). A match model points at the longest repeat of the last bytes and says the byte
that followed there.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression",
Florida Tech. CS-2005-16, and its successors lpaq and ZPAQ.
Differs from the papers: the choice of contexts, sizes and hashes is this file's own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8, UInt32

from orrery.catalog import System
from orrery.systems.theory.arithmetic_coder import Integer
from orrery.systems.theory.bit_history import histories
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="context_memory", area="theory", title="Context memory of a text", year=2005,
    papers=("Mahoney 2005, CS-2005-16",), builds_on=("arithmetic_coder", "bit_history"),
    realises=(),
)  # fmt: skip

ORDERS = 6
CONTEXTS = ORDERS + 5
SHORTEST, LONGEST = 7, 400  # bytes of a match
LARGEST = 2**30  # bytes of a text

COUNTS, AFTER = histories()

U = np.uint64
PRIME = U(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
MIXING = U(0xBF58476D1CE4E5B9)  # a constant of splitmix64

Nodes = UInt32[np.ndarray, "contexts buckets 16"]  # a check word, then (chance << 16) | history

FIELDS = [
    ("position", "i8"),  # bytes known
    ("partial", "i8"),  # a 1, then the known bits of the byte to come
    ("node", "i8"),  # a 1, then those of its half
    ("tail", "u8"),  # the last eight bytes
    ("word", "u8"),  # hashes of the word so far and of the two before
    ("word_1", "u8"),
    ("word_2", "u8"),
    ("line", "i8"),  # where this line begins
    ("above", "i8"),  # where the last one began
    ("opening", "u8"),  # of this line: 256 times its indentation, plus the first other character
    ("match", "i8"),  # where the repeat goes on
    ("length", "i8"),  # of the repeat, 0 for none
    ("expected", "i8"),  # a 1, then the byte it says
    ("hashes", "u8", (CONTEXTS,)),
    ("buckets", "i8", (CONTEXTS,)),  # the ones in use
]
"""Of the record `now`, whose other fields belong to who predicts (see `context_mixing`)."""


class Memory(NamedTuple):
    """Everything a model knows, in arrays that compiled code changes in place."""

    now: np.ndarray
    """One record: all that has a fixed size."""
    past: UInt8[np.ndarray, " size"]
    nodes: Nodes
    repeats: Int32[np.ndarray, " hashes"]
    """Where the last bytes were seen last, by their hash."""


def new_memory(size: int, fields: np.dtype[np.void]) -> Memory:
    """Of a model that has read nothing and will read up to `size` bytes; `begin_byte` is due.

    Raises:
        ValueError: size is negative or over 2^30.
    """
    if not 0 <= size <= LARGEST:
        raise ValueError(f"size must be in [0, 2^30] bytes, got {size}")
    bits = min(max(size.bit_length() - 2, 8), 19)  # texts of one megabyte lose no node to another
    return Memory(
        now=np.zeros(1, dtype=fields),
        past=np.zeros(size, dtype=np.uint8),
        nodes=np.zeros((CONTEXTS, 2**bits, 16), dtype=np.uint32),
        repeats=np.zeros(2 ** (bits + 2), dtype=np.int32),
    )


@compiled
def bits_known(partial: Integer) -> int:
    """How many bits of the byte are known."""
    bits = 0
    while partial > 1:
        partial >>= 1
        bits += 1
    return bits


@compiled
def length_class(memory: Memory, bit: Integer) -> Integer:
    """How long the match is, in 63 classes; 0 if there is none or its byte is already wrong."""
    now = memory.now[0]
    if now.length == 0 or now.expected >> (8 - bit) != now.partial:
        return 0
    return now.length if now.length < 16 else min(63, 12 + now.length // 4)


@compiled
def begin_byte(memory: Memory) -> None:
    """Hash the contexts of the byte to come and find what each of them knows."""
    now = memory.now[0]
    now.partial = 1
    now.expected = 256 + memory.past[now.match] if now.length > 0 else 0
    column = now.position - now.line
    over = U(0)  # the character above
    if now.above + column < now.line:
        over = U(memory.past[now.above + column])
    for order in range(ORDERS):
        now.hashes[order] = now.tail << U(56 - 8 * order)
    now.hashes[ORDERS] = now.word
    now.hashes[ORDERS + 1] = now.word * PRIME + now.word_1
    now.hashes[ORDERS + 2] = now.word * PRIME + now.word_2 * MIXING + (now.tail & U(255))
    now.hashes[ORDERS + 3] = (U(column) << U(8)) + over
    now.hashes[ORDERS + 4] = now.opening * PRIME + now.word
    for i in range(CONTEXTS):
        now.hashes[i] = scramble(now.hashes[i] + U(i + 1) * MIXING)
    choose_buckets(memory)


@compiled
def choose_buckets(memory: Memory) -> None:
    """Find, for each context, the bucket of the half byte that begins."""
    now = memory.now[0]
    now.node = 1
    for i in range(CONTEXTS):
        key = now.hashes[i]
        if now.partial > 1:
            key = scramble(key + U(now.partial))
        now.buckets[i] = find_bucket(memory.nodes, i, key)


@compiled
def find_bucket(nodes: Nodes, i: int, key: np.uint64) -> Integer:
    """The bucket marked with `key`; if none is, one of three is cleared that has seen little."""
    check = np.uint32(key >> U(32)) | np.uint32(1)
    home = np.int64(key & U(nodes.shape[1] - 1))
    chosen = home
    for step in range(3):
        bucket = home ^ step
        if nodes[i, bucket, 0] == check:
            return bucket
        if nodes[i, bucket, 1] & np.uint32(0xFFFF) < nodes[i, chosen, 1] & np.uint32(0xFFFF):
            chosen = bucket
    nodes[i, chosen, 0] = check
    for node in range(1, 16):
        nodes[i, chosen, node] = 1 << 31  # chance one half, nothing seen
    return chosen


@compiled
def scramble(x: np.uint64) -> np.uint64:
    """A bijection of 64-bit words in which every bit in moves every bit out."""
    x = (x ^ (x >> U(32))) * PRIME
    x = (x ^ (x >> U(29))) * MIXING
    return x ^ (x >> U(32))


@compiled
def end_byte(memory: Memory) -> None:
    """Take in the byte that is complete: the text, the word, the line, the match."""
    now = memory.now[0]
    byte = now.partial & 255
    memory.past[now.position] = byte
    now.position += 1
    now.tail = (now.tail << U(8)) | U(byte)
    lower = byte | 32
    if 97 <= lower <= 122 or 48 <= byte <= 57 or byte == 95 or byte >= 128:
        now.word = scramble(now.word + U(lower))
    elif now.word != U(0):
        now.word_2, now.word_1, now.word = now.word_1, now.word, U(0)
    if byte == 10:
        now.above, now.line, now.opening = now.line, now.position, U(0)
    elif now.opening & U(255) == U(0):  # still indenting
        now.opening += U(256 if byte == 32 else byte)
    follow_match(memory, byte)


@compiled
def follow_match(memory: Memory, byte: Integer) -> None:
    """Go on with the match, or look for a new one where the last bytes were seen before."""
    now = memory.now[0]
    if now.length > 0 and now.expected == 256 + byte:
        now.match += 1
        now.length = min(now.length + 1, LONGEST)
    else:
        now.length = 0
    if now.position < SHORTEST:
        return
    key = scramble(now.tail << U(64 - 8 * SHORTEST)) & U(len(memory.repeats) - 1)
    if now.length == 0:
        now.match = memory.repeats[key]
        length = 0
        while length < min(now.match, LONGEST) and (
            memory.past[now.match - 1 - length] == memory.past[now.position - 1 - length]
        ):
            length += 1
        now.length = length if length >= SHORTEST else 0
    memory.repeats[key] = now.position
