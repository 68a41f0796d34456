"""Where words begin and end, in machine code: the patterns of GPT-2 and cl100k as scanners.

Source: the two regular expressions in `bpe` (Radford et al. 2019; OpenAI's cl100k_base).
Differs from the papers: a scanner of UTF-8 in place of an engine for regular expressions; it
finds the same words.
"""

from functools import cache
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from orrery.catalog import System
from orrery.systems.language.bpe import CL100K, GPT2
from orrery.train.compiled import compiled

SYSTEM = System(
    stem="word_scanner", area="language", title="Scanners for words of GPT-2 and cl100k", year=2019,
    papers=("Radford et al. 2019",), builds_on=("bpe",),
)  # fmt: skip

Bytes = NDArray[np.uint8]
int64: Any = np.int64  # what compiled loops count in

OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)
GPT2_STYLE, CL100K_STYLE, CL100K_FIRST_STYLE = range(3)
CL100K_FIRST = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Its first form, and Llama 3's: at the end of a text, white space after the last newline is a
word of its own."""
TIKTOKEN_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
"""As tiktoken spells it."""
STYLES = {
    GPT2: GPT2_STYLE,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": GPT2_STYLE,
    CL100K: CL100K_STYLE,
    TIKTOKEN_CL100K: CL100K_STYLE,
    CL100K_FIRST: CL100K_FIRST_STYLE,
}  # fmt: skip
"""The patterns that have a scanner."""


@cache
def classes() -> Bytes:
    """The class of each code point, as the regular expressions tell them apart."""
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    table = np.full(0x110000, OTHER, dtype=np.uint8)
    for pattern, kind in ((r"\p{L}+", LETTER), (r"\p{N}+", NUMBER), (r"\s+", SPACE)):
        for match in regex.finditer(pattern, every):
            start, end = (ord(every[match.start()]), ord(every[match.end() - 1]) + 1)
            table[start:end] = kind  # no run has the surrogates in it: they lie between others
    table[[10, 13]] = NEWLINE
    return table


@compiled
def class_at(data: Bytes, i: int, classes: Bytes) -> tuple[int, int]:
    """The class of the character at byte i, and its length in bytes."""
    first = int64(data[i])
    if first < 0x80:
        return int64(classes[first]), 1
    if first < 0xE0:
        return int64(classes[(first & 0x1F) << 6 | data[i + 1] & 0x3F]), 2
    if first < 0xF0:
        code = (first & 0x0F) << 12 | int64(data[i + 1] & 0x3F) << 6 | data[i + 2] & 0x3F
        return int64(classes[code]), 3
    code = (first & 0x07) << 18 | int64(data[i + 1] & 0x3F) << 12
    code |= int64(data[i + 2] & 0x3F) << 6 | data[i + 3] & 0x3F
    return int64(classes[code]), 4


@compiled
def run_end(data: Bytes, i: int, stop: int, classes: Bytes, kind: int) -> int:
    """Where the run of characters of a class that begins at i ends."""
    while i < stop:
        found, size = class_at(data, i, classes)
        if found != kind:
            break
        i += size
    return i


@compiled
def contraction(data: Bytes, i: int, stop: int, any_case: bool) -> int:
    """Bytes of 's, 't, 'd, 'm, 'll, 've or 're at i, 0 if there is none.

    Where case does not matter, the long s of old print (two bytes) is an s too.
    """
    if i + 1 >= stop:
        return 0
    a, b = data[i + 1], data[i + 2] if i + 2 < stop else 0
    if any_case:
        if a == 0xC5 and b == 0xBF:
            return 3
        a, b = a | 0x20 if a < 0x60 else a, b | 0x20 if b < 0x60 else b
    if a == ord("s") or a == ord("d") or a == ord("m") or a == ord("t"):
        return 2
    if a == ord("l"):
        return 3 if b == ord("l") else 0
    return 3 if (a == ord("v") or a == ord("r")) and b == ord("e") else 0


@compiled
def white_end(data: Bytes, i: int, stop: int, classes: Bytes, style: int) -> int:
    """The end of a word of white space: before a word its last character is left to that."""
    start, last, after_newline = i, i, 0
    while i < stop:
        kind, size = class_at(data, i, classes)
        if kind != SPACE and kind != NEWLINE:
            break
        last, i = i, i + size
        if kind == NEWLINE:
            after_newline = i
    if style != GPT2_STYLE and after_newline and (style == CL100K_FIRST_STYLE or i < stop):
        return after_newline
    return i if i == stop or last == start else last


@compiled
def cl100k_end(data: Bytes, i: int, stop: int, classes: Bytes, style: int) -> int:
    """The end of a word of cl100k that is no contraction."""
    kind, size = class_at(data, i, classes)
    after, next_kind = i + size, -1
    if after < stop:
        next_kind, _ = class_at(data, after, classes)
    if kind == LETTER or (next_kind == LETTER and kind in (OTHER, SPACE)):
        return run_end(data, after, stop, classes, LETTER)
    if kind == NUMBER:
        for _ in range(2):
            if after < stop and class_at(data, after, classes)[0] == NUMBER:
                after += class_at(data, after, classes)[1]
        return after
    if kind == OTHER or (data[i] == ord(" ") and next_kind == OTHER):
        return run_end(data, run_end(data, after, stop, classes, OTHER), stop, classes, NEWLINE)
    return white_end(data, i, stop, classes, style)


@compiled
def word_end(data: Bytes, i: int, stop: int, classes: Bytes, style: int) -> int:
    """The end of the word that begins at byte i; `stop` is the end of the text."""
    kind, size = class_at(data, i, classes)
    if data[i] == ord("'"):
        found = contraction(data, i, stop, style != GPT2_STYLE)
        if found:
            return i + found
    after, next_kind = i + size, -1
    if after < stop:
        next_kind, _ = class_at(data, after, classes)
    if style == GPT2_STYLE:
        if data[i] == ord(" ") and next_kind not in (-1, SPACE, NEWLINE):
            return run_end(data, after, stop, classes, next_kind)
        if kind in (SPACE, NEWLINE):
            return white_end(data, i, stop, classes, style)
        return run_end(data, i, stop, classes, kind)
    return cl100k_end(data, i, stop, classes, style)
