"""Compressors that everybody has, each at its best: what a model has to beat."""

import bz2
import gzip
import lzma
from collections.abc import Callable

import zstandard

CLASSICS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bzip2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd": lambda data: zstandard.compress(data, 19),
}


def size_after(name: str, data: bytes, past: bytes = b"") -> int:
    """Bytes that a classic adds for `data` when `past` stands before it in the same file."""
    compress = CLASSICS[name]
    return len(compress(past + data)) - (len(compress(past)) if past else 0)
