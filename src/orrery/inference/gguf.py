"""Reads GGUF, the one-file format of llama.cpp: settings, vocabulary and quantised weights.

Nothing in a file is believed before it is checked against the file's own size: a length, a count
or an offset that leads outside is one line of refusal, not a long wait or a full memory. Tensors
stay where they are, in the mapped file, until one is asked for.

Source: the GGUF specification (ggml's docs/gguf.md), versions 2 and 3, little-endian.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orrery.errors import OrreryError
from orrery.inference.gguf_blocks import FORMATS, Format

MAGIC = b"GGUF"
ALIGNMENT = 32
MOST_TEXTS = 2_000_000  # in one array; the largest vocabularies hold a tenth of that
MOST_AXES = 4

NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
"""Struct codes of the kinds of single values."""
TEXT, ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as torch has it; the file has it the other way round."""
    format: Format
    start: int
    """Its first byte in the file."""

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) // self.format.numbers * self.format.bytes


class Gguf:
    """An open file: its settings, and its tensors by name."""

    def __init__(self, path: str | Path) -> None:
        """Read the head of a file.

        Raises:
            OrreryError: it cannot be read, or is not a sound GGUF file.
        """
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise OrreryError(f"cannot read {path}: {error.strerror}") from error
        except ValueError:  # what mmap says of an empty file
            raise OrreryError(f"{path} is refused: it is empty") from None
        head = _Head(self._data)
        try:
            self.settings: Mapping[str, Any] = head.settings()
            self._spans = head.spans
            self.tensors: Mapping[str, Stored] = head.tensors(self.settings)
        except (OrreryError, UnicodeDecodeError) as error:
            reason = "a text is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise OrreryError(f"{path} is refused: {reason}") from None

    def setting(self, name: str, kind: type[Any], default: Any = None) -> Any:
        """A setting, or the default if there is one and the file has no such setting.

        Raises:
            OrreryError: it is missing or of another kind.
        """
        value = self.settings.get(name, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            what = "is missing" if value is None else f"must be {kind.__name__}"
            raise OrreryError(f"{self.path} is refused: {name} {what}")
        return value

    def setting_bytes(self, name: str) -> bytes:
        """A setting as it lies in the file: its kind, then its value."""
        start, end = self._spans[name]
        return self._data[start:end]

    def blocks(self, name: str) -> Tensor:
        """The bytes of a tensor, as blocks by bytes, without a copy.

        Raises:
            OrreryError: there is no such tensor.
        """
        if name not in self.tensors:
            raise OrreryError(f"{self.path} is refused: it has no tensor {name}")
        one = self.tensors[name]
        flat = torch.frombuffer(self._data, dtype=torch.uint8, count=one.size, offset=one.start)
        return flat.view(-1, one.format.bytes)

    def tensor(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor with its numbers worked out.

        Raises:
            OrreryError: there is no such tensor.
        """
        blocks = self.blocks(name)
        one = self.tensors[name]
        return one.format.unpack(blocks).to(dtype).reshape(one.shape)


class _Head:
    """Reads on from the start of a file, never past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place = data, 0
        self.spans = dict[str, tuple[int, int]]()

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.place:
            raise OrreryError(f"{what} leads beyond the end of the file")
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self, code: str, what: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code), what))[0]

    def text(self, what: str) -> str:
        return self.take(self.number("<Q", what), what).decode()

    def count(self, what: str, least: int) -> int:
        """How many of something follow, each of at least so many bytes."""
        found: int = self.number("<Q", what)
        if found * least > len(self.data) - self.place:
            raise OrreryError(f"{what} ({found}) is more than the file can hold")
        return found

    def settings(self) -> dict[str, Any]:
        if self.take(4, "the magic") != MAGIC:
            raise OrreryError("it does not begin with GGUF")
        version = self.number("<I", "the version")
        if version not in (2, 3):
            raise OrreryError(f"version must be 2 or 3, got {version}")
        self.tensor_count = self.count("the number of tensors", 24)
        found: dict[str, Any] = {}
        for _ in range(self.count("the number of settings", 13)):
            name = self.text("the name of a setting")
            if name in found:
                raise OrreryError(f"{name} is there twice")
            start = self.place
            found[name] = self.value(self.number("<I", name), name)
            self.spans[name] = start, self.place
        return found

    def value(self, kind: int, name: str) -> Any:
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], name)
        if kind == TEXT:
            return self.text(name)
        if kind != ARRAY:
            raise OrreryError(f"{name} is of an unknown kind ({kind})")
        inner = self.number("<I", name)
        if inner == TEXT:
            count = self.count(name, 8)
            if count > MOST_TEXTS:
                raise OrreryError(f"{name} must hold at most {MOST_TEXTS} texts, got {count}")
            return [self.text(name) for _ in range(count)]
        if inner not in NUMBERS:
            raise OrreryError(f"{name} is an array of an unknown kind ({inner})")
        dtype = np.dtype(NUMBERS[inner].replace("?", "B"))
        count = self.count(name, dtype.itemsize)
        return np.frombuffer(self.take(count * dtype.itemsize, name), dtype)

    def tensors(self, settings: Mapping[str, Any]) -> dict[str, Stored]:
        alignment = settings.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
            raise OrreryError(f"general.alignment must be a power of 2 from 8, got {alignment}")
        found: dict[str, Stored] = {}
        for _ in range(self.tensor_count):
            one = self.tensor(alignment)
            if one.name in found:
                raise OrreryError(f"the tensor {one.name} is there twice")
            found[one.name] = one
        base = -(-self.place // alignment) * alignment
        placed = {
            name: Stored(name, one.shape, one.format, base + one.start)
            for name, one in found.items()
        }
        end, before = base, "the head"
        for one in sorted(placed.values(), key=lambda one: (one.start, one.size)):
            if one.start < end:
                raise OrreryError(f"the tensor {one.name} overlaps {before}")
            end, before = one.start + one.size, one.name
        if placed and end > len(self.data):
            raise OrreryError(f"the tensor {before} leads beyond the end of the file")
        return placed

    def tensor(self, alignment: int) -> Stored:
        """What the head says of the next tensor; its place counts from the end of the head."""
        name = self.text("the name of a tensor")
        axes = self.number("<I", name)
        if not 1 <= axes <= MOST_AXES:
            raise OrreryError(f"the tensor {name} must have 1 to {MOST_AXES} axes, got {axes}")
        sizes = [self.number("<Q", name) for _ in range(axes)]
        kind = self.number("<I", name)
        start = self.number("<Q", name)
        if kind not in FORMATS:
            known = ", ".join(one.name for one in FORMATS.values())
            raise OrreryError(f"the tensor {name} must be {known}; it is of kind {kind}")
        if prod(sizes) < 1 or sizes[0] % FORMATS[kind].numbers:
            block = FORMATS[kind].numbers
            raise OrreryError(f"the tensor {name} must have rows of {block}s, got {sizes[0]}")
        if start % alignment:
            raise OrreryError(f"the tensor {name} is not aligned to {alignment} bytes")
        return Stored(name, tuple(reversed(sizes)), FORMATS[kind], start)
