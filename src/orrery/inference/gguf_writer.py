"""Writes GGUF: settings, then a table of tensors, then their blocks, each on a round address.

Settings are given as values, or as the bytes that another file has for them, so that a copy says
what its original said, down to the width of every number.

Source: the GGUF specification (ggml's docs/gguf.md), version 3, little-endian.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from orrery.errors import OrreryError
from orrery.files import write_atomically
from orrery.inference.gguf import ALIGNMENT, ARRAY, MAGIC, TEXT, Gguf
from orrery.inference.gguf_blocks import FORMATS
from orrery.inference.gguf_packing import PACKERS

VERSION = 3
NUMBERS_OF_FORMATS = {one.name: number for number, one in FORMATS.items()}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7}
"""What general.file_type calls a file whose matrices are mostly in a format."""
TABLES = ("token_embd.weight", "output.weight")

Value = bool | int | float | str | list[str] | bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """One tensor, ready to be written."""

    shape: tuple[int, ...]
    """Rows first."""
    format: str
    """By ggml's name."""
    data: bytes


def pack(tensor: Tensor, name: str) -> Packed:
    """A tensor in a format.

    Raises:
        ValueError: the format is not one that is written, its blocks do not fill the rows, or a
            number is out of its range.
    """
    if name not in PACKERS:
        raise ValueError(f"format must be one of {', '.join(PACKERS)}, got {name!r}")
    block = FORMATS[NUMBERS_OF_FORMATS[name]].numbers
    if tensor.ndim == 0 or tensor.numel() == 0 or tensor.shape[-1] % block:
        raise ValueError(f"{name} needs rows of {block}s, got the shape {tuple(tensor.shape)}")
    packed = PACKERS[name](tensor.detach().to("cpu", torch.float32).reshape(-1, block))
    return Packed(tuple(tensor.shape), name, packed.numpy().tobytes())


def converted(file: Gguf, name: str) -> tuple[dict[str, Value], dict[str, Packed]]:
    """A file's settings and tensors, its matrices in another format.

    Vectors, and rows that blocks do not fill, stay as they are. At four bits the tables that read
    tokens in and score them get eight.

    Raises:
        OrreryError: a weight is out of the format's range.
        ValueError: the format is not one that is written.
    """
    if name not in FILE_TYPES:
        raise ValueError(f"format must be one of {', '.join(FILE_TYPES)}, got {name!r}")
    settings: dict[str, Value] = {one: file.setting_bytes(one) for one in file.settings}
    settings |= {"general.file_type": FILE_TYPES[name], "general.quantization_version": 2}
    tensors = dict[str, Packed]()
    for tensor, stored in file.tensors.items():
        wanted = "Q8_0" if tensor in TABLES and name.startswith("Q4") else name
        block = FORMATS[NUMBERS_OF_FORMATS[wanted]].numbers
        if len(stored.shape) < 2 or stored.shape[-1] % block or stored.format.name == wanted:
            raw = file.blocks(tensor).numpy().tobytes()
            tensors[tensor] = Packed(stored.shape, stored.format.name, raw)
            continue
        try:
            tensors[tensor] = pack(file.tensor(tensor), wanted)
        except ValueError as error:
            raise OrreryError(f"{file.path} is refused: {tensor}: {error}") from None
    return settings, tensors


def setting(value: Value) -> bytes:
    """A setting's kind and its value; bytes stand for themselves.

    Raises:
        ValueError: it is a number that no kind holds.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", TEXT) + _text(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, TEXT, len(value)) + b"".join(map(_text, value))
    for kind, code, low, high in ((4, "<II", 0, 1 << 32), (11, "<Iq", -(1 << 63), 1 << 63)):
        if low <= value < high:
            return struct.pack(code, kind, value)
    raise ValueError(f"a whole number must fit into 64 bits, got {value}")


def write_gguf(
    path: str | Path, settings: Mapping[str, Value], tensors: Mapping[str, Packed]
) -> None:
    """Put a file at `path`, whole or not at all.

    Raises:
        OrreryError: it cannot be written.
        ValueError: a setting is out of range, or a tensor's bytes are not those of its shape.
    """
    alignment = settings.get("general.alignment", ALIGNMENT)
    if isinstance(alignment, bytes):
        (alignment,) = struct.unpack("<I", alignment[4:])
    if not isinstance(alignment, int):
        raise ValueError(f"general.alignment must be a whole number, got {alignment!r}")
    head = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(settings))]
    head += [_text(name) + setting(value) for name, value in settings.items()]
    start, body = 0, list[bytes]()
    for name, one in tensors.items():
        number = NUMBERS_OF_FORMATS[one.format]
        known = FORMATS[number]
        if len(one.data) != prod(one.shape) // known.numbers * known.bytes:
            raise ValueError(f"{name} must have the bytes of {one.shape} in {one.format}")
        sizes = struct.pack(f"<I{len(one.shape)}Q", len(one.shape), *reversed(one.shape))
        head.append(_text(name) + sizes + struct.pack("<IQ", number, start))
        gap = -len(one.data) % alignment
        body += [one.data, b"\0" * gap]
        start += len(one.data) + gap
    front = b"".join(head)
    try:
        write_atomically(Path(path), b"".join([front, b"\0" * (-len(front) % alignment), *body]))
    except MemoryError:
        raise OrreryError(f"{path} is too large for this machine's memory") from None


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
