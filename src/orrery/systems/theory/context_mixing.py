"""Context mixing: what many contexts remember becomes one prediction, bit by bit.

A byte is predicted one bit at a time, the high bit first. Each context says what followed it
before, twice: the chance that its bit history has meant so far, and the chance kept in its own
node. The longest match says its bit. Three mixers (weights chosen by the bits known, by the last
byte, by the match) weigh them, a fourth weighs the three, and two curves correct the result.

Everything is learnt from the text itself while it is coded: no weights are stored anywhere, and
the decoder, which learns from the same bytes, is always in the same state.

Source: Mahoney 2005, "Adaptive Weighing of Context Models for Lossless Data Compression",
Florida Tech. CS-2005-16, and its successors lpaq and ZPAQ; Knoll and de Freitas 2012,
arXiv:1108.3298, section 3 (two layers of mixers).
Differs from the papers: sizes and rates are this file's own; integers only (see
`logistic_mixing`).
"""

import numpy as np
from jaxtyping import UInt8, UInt32

from orrery.catalog import System
from orrery.systems.theory.arithmetic_coder import (
    Bytes,
    Decoder,
    Encoder,
    Integer,
    Registers,
    narrow,
    place,
    widen,
)
from orrery.systems.theory.bit_history import first_guess
from orrery.systems.theory.context_memory import (
    AFTER,
    CONTEXTS,
    COUNTS,
    FIELDS,
    MIXING,
    PRIME,
    Memory,
    U,
    begin_byte,
    bits_known,
    choose_buckets,
    end_byte,
    length_class,
    new_memory,
)
from orrery.systems.theory.logistic_mixing import (
    CERTAIN,
    KNOTS,
    SHARE,
    STRETCH,
    bend,
    correct,
    learn_bend,
    learn_chance,
    mix,
    squash,
    straight_curves,
)
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="context_mixing", area="theory", title="Context mixing (the PAQ family)", year=2005,
    papers=("Mahoney 2005, CS-2005-16", "arXiv:1108.3298"),
    builds_on=("arithmetic_coder", "bit_history", "context_memory", "logistic_mixing"),
    realises=(),
)  # fmt: skip

INPUTS = 2 * CONTEXTS + 2  # two a context, one of the match, and a constant
MIXERS = 3
BY_PARTIAL, BY_LAST_BYTE, BY_MATCH = 0, 256, 256 + 8 * 256  # first row of each mixer's weights
ROWS = BY_MATCH + 8 * 17
CURVES = 2**16  # of each of the two sets

FIELDS_OF_MODEL = np.dtype(
    [
        *FIELDS,
        ("histories", "i8", (CONTEXTS,)),  # in the nodes in use
        ("chances", "u4", (CONTEXTS, len(COUNTS))),  # of a 1 after each history
        ("trust", "u4", (64,)),  # chance that a match is right, by its class of length
        ("inputs", "i4", (INPUTS,)),  # log-odds, as of all below
        ("weights", "i4", (ROWS, INPUTS)),
        ("rows", "i8", (MIXERS,)),  # in use
        ("opinions", "i4", (MIXERS,)),
        ("final", "i4", (256, MIXERS)),
        ("odds", "i8"),  # the mixture
        ("curves", "i4", (2 * CURVES, KNOTS)),
        ("by_text", "i8"),  # the curves in use: chosen by the last three bytes
        ("by_match", "i8"),  # and by the byte the match says
    ]
)
SEEN = np.array([min(30, zeros + ones) for zeros, ones in COUNTS], dtype=np.int64)


@compiled
def predict(memory: Memory) -> Integer:
    """Chance that the next bit is 1, in 2^-16."""
    now = memory.now[0]
    bit = bits_known(now.partial)
    length = length_class(memory, bit)
    for i in range(CONTEXTS):
        node = memory.nodes[i, now.buckets[i], now.node]
        history = np.int64(node & np.uint32(0xFFFF))
        now.histories[i] = history
        now.inputs[2 * i] = STRETCH[now.chances[i, history] >> 20] if history else 0
        now.inputs[2 * i + 1] = STRETCH[node >> 20] if history else 0
    said = STRETCH[now.trust[length] >> 20] if length else 0
    now.inputs[INPUTS - 2] = said if (now.expected >> (7 - bit)) & 1 else -said
    now.inputs[INPUTS - 1] = 256
    now.rows[0] = BY_PARTIAL + now.partial
    now.rows[1] = BY_LAST_BYTE + 8 * np.int64(now.tail & U(255)) + bit
    now.rows[2] = BY_MATCH + 8 * (1 + length // 4 if length else 0) + bit
    for k in range(MIXERS):
        now.opinions[k] = mix(now.weights, now.rows[k], now.inputs)
    now.odds = mix(now.final, now.partial, now.opinions)
    now.by_text = ((now.tail & U(0xFFFFFF)) * PRIME + U(now.partial) * MIXING) >> U(48)
    now.by_match = CURVES + now.partial + (256 * (now.expected & 255) if length else 0)
    bent = bend(now.curves, now.by_text, now.odds) + bend(now.curves, now.by_match, now.odds)
    return min(max((2 * squash(now.odds) + bent + 2) >> 2, 1), CERTAIN - 1)


@compiled
def learn(memory: Memory, bit: Integer) -> None:
    """Take in the bit that came, in every part that had a say in `predict`."""
    now = memory.now[0]
    rate = 8 + 80 * 20000 // (20000 + now.position)  # large steps first
    for k in range(MIXERS):
        error = (bit << 16) - squash(now.opinions[k])
        correct(now.weights, now.rows[k], now.inputs, error * rate, 21)
    correct(now.final, now.partial, now.opinions, (bit << 16) - squash(now.odds), 18)
    learn_bend(now.curves, now.by_text, now.odds, bit, 6)
    learn_bend(now.curves, now.by_match, now.odds, bit, 6)
    known = bits_known(now.partial)
    length = length_class(memory, known)
    if length:
        right = np.int64((now.expected >> (7 - known)) & 1 == bit)
        learn_chance(now.trust, length, right, 1000)
    goal = (CERTAIN - 1) * bit
    for i in range(CONTEXTS):
        history = now.histories[i]
        learn_chance(now.chances[i], history, bit, 255)
        chance = np.int64(memory.nodes[i, now.buckets[i], now.node] >> np.uint32(16))
        chance += ((goal - chance) * SHARE[SEEN[history]]) >> 16
        memory.nodes[i, now.buckets[i], now.node] = (chance << 16) | AFTER[history, bit]
    now.partial = 2 * now.partial + bit
    now.node = 2 * now.node + bit
    if now.partial >= 256:
        end_byte(memory)
        begin_byte(memory)
    elif 16 <= now.partial < 32:
        choose_buckets(memory)


@compiled
def read_bytes(memory: Memory, data: Bytes) -> None:
    """Learn from `data` without coding it."""
    for byte in data:
        for shift in range(7, -1, -1):
            predict(memory)
            learn(memory, (np.int64(byte) >> shift) & 1)


@compiled
def encode_bytes(memory: Memory, data: Bytes, registers: Registers, written: Bytes) -> None:
    """Learn from `data` and add its code to `written`."""
    for byte in data:
        for shift in range(7, -1, -1):
            bit = (np.int64(byte) >> shift) & 1
            one = predict(memory)
            if bit:
                narrow(registers, written, CERTAIN - one, one, CERTAIN)
            else:
                narrow(registers, written, 0, CERTAIN - one, CERTAIN)
            learn(memory, bit)


@compiled
def decode_bytes(memory: Memory, data: Bytes, registers: Registers, code: Bytes) -> None:
    """Fill `data`, which holds zeros, from `code`, learning from every bit."""
    for i in range(len(data)):
        for _ in range(8):
            one = predict(memory)
            bit = np.int64(place(registers, CERTAIN) >= CERTAIN - one)
            if bit:
                widen(registers, code, CERTAIN - one, one, CERTAIN)
            else:
                widen(registers, code, 0, CERTAIN - one, CERTAIN)
            data[i] = 2 * data[i] + bit
            learn(memory, bit)


class ContextMixing:
    """A predictor of bits (see `lm_compressor`) with loops of its own, in machine code."""

    alphabet = 2
    lanes = 1
    PIECE = 2**15
    """Bytes between two looks at the keyboard: compiled code cannot be interrupted."""

    def __init__(self, size: int) -> None:
        """Of a text of at most `size` bytes, what was read before included."""
        self.memory = new_memory(size, FIELDS_OF_MODEL)
        now = self.memory.now
        now["chances"] = first_guess(COUNTS) << 10
        now["trust"] = 2**31
        now["weights"] = CERTAIN // 8
        now["final"] = CERTAIN // MIXERS
        now["curves"] = straight_curves(2 * CURVES)
        begin_byte(self.memory)

    def predict(self) -> UInt32[np.ndarray, "1 2"]:
        """Frequencies of the next bit."""
        one = predict(self.memory)
        return np.array([[CERTAIN - one, one]], dtype=np.uint32)

    def update(self, symbols: UInt8[np.ndarray, "1"]) -> None:
        """Learn from the bit that came, after `predict`."""
        self.check_room(1)
        learn(self.memory, int(symbols[0]))

    def read(self, data: bytes) -> None:
        """Learn from `data`: a past that costs nothing, if the decoder has it too."""
        self.check_room(len(data))
        for piece in self.pieces(np.frombuffer(data, dtype=np.uint8)):
            read_bytes(self.memory, piece)

    def encode(self, data: bytes) -> bytes:
        """The code of `data`, which comes after what was read."""
        self.check_room(len(data))
        encoder = Encoder()
        for piece in self.pieces(np.frombuffer(data, dtype=np.uint8)):
            encoder.reserve(8 * len(piece))
            encode_bytes(self.memory, piece, encoder.registers, encoder.written)
        return encoder.finish()

    def decode(self, code: bytes, size: int) -> bytes:
        """The `size` bytes that `encode` made `code` from, after reading the same."""
        self.check_room(size)
        decoder = Decoder(code)
        data = np.zeros(size, dtype=np.uint8)
        for piece in self.pieces(data):
            decode_bytes(self.memory, piece, decoder.registers, decoder.code)
        return data.tobytes()

    def pieces(self, data: Bytes) -> list[UInt8[np.ndarray, " _"]]:
        """Views of `data`, one after another."""
        return [data[start : start + self.PIECE] for start in range(0, len(data), self.PIECE)]

    def check_room(self, more: int) -> None:
        """Refuse bytes beyond what the model was made for.

        Raises:
            ValueError: it would have read more than `size` bytes.
        """
        size, position = len(self.memory.past), int(self.memory.now["position"][0])
        if position + more > size:
            raise ValueError(f"the model was made for size={size} bytes, {position + more} came")
