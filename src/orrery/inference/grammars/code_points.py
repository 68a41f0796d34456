"""Sets of characters as ranges of code points, and the same as ranges of UTF-8 bytes."""

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise

Ranges = tuple[tuple[int, int], ...]
"""First and last of each; sorted, and none touches the next."""
ByteRanges = tuple[tuple[int, int], ...]
"""Of the first byte, of the second and so on."""

LAST = sys.maxunicode
SURROGATES = (0xD800, 0xDFFF)  # no characters: UTF-8 cannot write them
SIZES = (0, 0x80, 0x800, SURROGATES[0], SURROGATES[1] + 1, 0x10000, LAST + 1)
"""Within two neighbours of these all characters take the same number of bytes."""


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """What is in any of these."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(one for ranges in sets for one in ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def complement(ranges: Ranges) -> Ranges:
    """The characters that are not in it."""
    found, begin = [], 0
    for first, last in union(ranges, (SURROGATES,)):
        if begin < first:
            found.append((begin, first - 1))
        begin = last + 1
    if begin <= LAST:
        found.append((begin, LAST))
    return tuple(found)


ALL = complement(())


@lru_cache(256)
def utf8(ranges: Ranges) -> tuple[ByteRanges, ...]:
    """Products of byte ranges which together are the UTF-8 of exactly these characters."""
    found: list[ByteRanges] = []
    for first, last in ranges:
        for begin, end in pairwise(SIZES):
            low, high = max(first, begin), min(last, end - 1)
            if low <= high and begin != SURROGATES[0]:
                found += _products(low, high)
    return tuple(found)


def _products(first: int, last: int) -> Iterator[ByteRanges]:
    """Split where a later byte does not take all its values under one earlier byte."""
    for size in range(1, len(chr(first).encode())):
        rest = (1 << 6 * size) - 1
        if first & ~rest != last & ~rest:
            if first & rest:
                yield from _products(first, first | rest)
                yield from _products((first | rest) + 1, last)
                return
            if last & rest != rest:
                yield from _products(first, (last & ~rest) - 1)
                yield from _products(last & ~rest, last)
                return
    yield tuple(zip(chr(first).encode(), chr(last).encode(), strict=True))


def _span(text: str) -> Ranges:
    return union((ord(a), ord(b)) for a, b in re.findall("(.)-(.)", text, re.DOTALL))


NARROW = {"d": _span("0-9"), "w": _span("0-9 A-Z _-_ a-z"), "s": _span("\t-\r  - ")}
"""The characters that are digits, of words, or space in every dialect."""


@cache
def wide(letter: str) -> Ranges:
    """The characters that are digits (d), of words (w) or space (s) in some dialect."""
    every = "".join(map(chr, range(LAST + 1)))
    found = [(one.start(), one.end() - 1) for one in re.finditer(f"\\{letter}+", every)]
    more = [(0xFEFF, 0xFEFF)] if letter == "s" else []  # ECMA-262 calls it white space
    return union(found, NARROW[letter], more)
