"""Arithmetic coding: a message becomes one number, as long as its information and no longer.

Every symbol owns a share of an interval in proportion to its frequency. Coding a symbol narrows
the interval to its share; at the end any number inside names the whole message. A message of
information I = sum of log2(total / frequency) takes less than I + 8 bits: the last byte is the
only one that is not full.

Source: Rissanen 1976, "Generalized Kraft Inequality and Arithmetic Coding"; Witten, Neal, Cleary
1987, "Arithmetic Coding for Data Compression"; whole bytes and a carry: Martin 1979, "Range
encoding: an algorithm for removing redundancy from a digitised message".
Differs from the papers: the interval is a 64-bit integer kept at least 2^56 wide, so frequencies
may add up to 2^32; a carry is added to the bytes already written instead of being held back.
"""

import math

import numpy as np
from jaxtyping import Float64, UInt8, UInt32, UInt64

from orrery.catalog import System
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="arithmetic_coder", area="theory", title="Arithmetic coding", year=1976,
    papers=("Rissanen 1976", "Witten, Neal, Cleary 1987", "Martin 1979"), builds_on=(),
    realises=(),
)  # fmt: skip

Frequencies = UInt32[np.ndarray, " symbols"]  # at least 1 each; chances times their sum
FrequencyTable = UInt32[np.ndarray, "*lanes symbols"]
Registers = UInt64[np.ndarray, "3"]
Bytes = UInt8[np.ndarray, " bytes"]
Integer = int | np.int64  # what compiled code takes for one

LARGEST_TOTAL = 2**32

# The registers. An encoder: the interval is [low, low + width) below the bytes written. A decoder:
# `low` is the coded number's distance from the interval's lower end.
LOW, WIDTH, COUNT = 0, 1, 2
ROOM = 16  # bytes that one symbol may add, and more

U = np.uint64
NARROW = U(2**56)  # below this width the leading byte is settled
BYTE = U(8)
TOP = U(56)


@compiled
def narrow(
    registers: Registers, written: Bytes, start: Integer, size: Integer, total: Integer
) -> None:
    """Encode a symbol that owns [start, start + size) of `total`."""
    step = registers[WIDTH] // U(total)
    low = registers[LOW] + step * U(start)
    width = step * U(size)
    count = np.int64(registers[COUNT])
    if low < registers[LOW]:  # past 2^64: carry into the bytes before
        place = count - 1
        while written[place] == 255:
            written[place] = 0
            place -= 1
        written[place] += 1
    while width < NARROW:
        written[count] = low >> TOP
        count += 1
        low <<= BYTE
        width <<= BYTE
    registers[LOW], registers[WIDTH], registers[COUNT] = low, width, U(count)


@compiled
def place(registers: Registers, total: Integer) -> Integer:
    """Where in [0, total) the coded number lies: in the share of the symbol that comes next."""
    found = registers[LOW] // (registers[WIDTH] // U(total))
    return np.int64(min(found, U(total - 1)))


@compiled
def widen(registers: Registers, code: Bytes, start: Integer, size: Integer, total: Integer) -> None:
    """Take a decoded symbol out of the coded number; `code` reads as if zeros followed it."""
    step = registers[WIDTH] // U(total)
    low = registers[LOW] - step * U(start)
    width = step * U(size)
    count = np.int64(registers[COUNT])
    while width < NARROW:
        low = (low << BYTE) | U(code[count] if count < len(code) else 0)
        count += 1
        width <<= BYTE
    registers[LOW], registers[WIDTH], registers[COUNT] = low, width, U(count)


class Encoder:
    """Takes symbols one by one; `finish` gives the bytes."""

    def __init__(self) -> None:
        self.registers = np.array([0, 2**64 - 1, 0], dtype=np.uint64)
        self.written = np.zeros(1024, dtype=np.uint8)

    def reserve(self, symbols: int) -> None:
        """Make room for the bytes of so many more symbols."""
        needed = int(self.registers[COUNT]) + ROOM + 4 * symbols
        if needed > len(self.written):
            larger = np.zeros(max(needed, 2 * len(self.written)), dtype=np.uint8)
            larger[: len(self.written)] = self.written
            self.written = larger

    def encode(self, start: int, size: int, total: int) -> None:
        """Encode a symbol that owns [start, start + size) of `total`.

        Raises:
            ValueError: the share is empty or not inside [0, total), or total is over 2^32.
        """
        if not (0 <= start < start + size <= total <= LARGEST_TOTAL):
            raise ValueError(
                f"[start, start + size) must be a share of [0, total), total at most 2^32: "
                f"start={start}, size={size}, total={total}"
            )
        self.reserve(1)
        narrow(self.registers, self.written, start, size, total)

    def encode_symbol(self, symbol: int, frequencies: Frequencies) -> None:
        """Encode `symbol`, whose share lies above those of the smaller symbols."""
        check(frequencies)
        if not 0 <= symbol < len(frequencies):
            raise ValueError(f"symbol must be in [0, {len(frequencies)}), got {symbol}")
        start = int(frequencies[:symbol].sum(dtype=np.uint64))
        total = int(frequencies.sum(dtype=np.uint64))
        self.encode(start, int(frequencies[symbol]), total)

    def finish(self) -> bytes:
        """The code: everything written and one byte that puts the number inside the interval."""
        low, _, count = map(int, self.registers)
        if low == count == 0:  # a decoder reads zeros where the code has ended
            return b""
        last = -(-low // 2**56)  # the width is at least 2^56: a multiple of it lies inside
        number = int.from_bytes(self.written[:count].tobytes(), "big") * 256 + last
        return number.to_bytes(count + 1, "big")


class Decoder:
    """Gives the symbols back, one by one, as long as the caller knows there are more."""

    def __init__(self, code: bytes) -> None:
        self.code = np.frombuffer(code, dtype=np.uint8)
        first = int.from_bytes(code[:8].ljust(8, b"\0"), "big")
        self.registers = np.array([first, 2**64 - 1, 8], dtype=np.uint64)

    def decode_symbol(self, frequencies: Frequencies) -> int:
        """The next symbol; `frequencies` are those it was encoded with."""
        check(frequencies)
        ends = np.cumsum(frequencies, dtype=np.uint64)
        total = int(ends[-1])
        symbol = int(np.searchsorted(ends, place(self.registers, total), side="right"))
        size = int(frequencies[symbol])
        widen(self.registers, self.code, int(ends[symbol]) - size, size, total)
        return symbol


def check(frequencies: Frequencies) -> None:
    """Refuse frequencies that no coder can work with.

    Raises:
        ValueError: one is 0, or they add up to more than 2^32.
    """
    if not len(frequencies) or not frequencies.all():
        raise ValueError("frequencies must be at least 1 each: a symbol of chance 0 has no code")
    if (total := int(frequencies.sum(dtype=np.uint64))) > LARGEST_TOTAL:
        raise ValueError(f"frequencies must add up to at most 2^32, got {total}")


def quantise(chances: Float64[np.ndarray, "*lanes symbols"]) -> FrequencyTable:
    """Frequencies in proportion to `chances`, at least 1 each: what two machines can agree on.

    Chances are kept to 2^-24; so a symbol that the model rules out still has a code, of 24 bits.
    """
    return (chances * 2**24).astype(np.uint32) + np.uint32(1)


def information(symbol: int, frequencies: Frequencies) -> float:
    """What the symbol tells, in bits: the room an ideal code would take."""
    share = int(frequencies[symbol]) / int(frequencies.sum(dtype=np.uint64))
    return -math.log2(share)
