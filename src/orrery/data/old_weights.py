"""Tensors of a PyTorch file from before version 1.6, read without running anything in it.

Such a file is five pickles and then the numbers. A pickle is a program for a small stack machine,
which may name any function of Python and have it called: that is why loading one is unsafe. Here
the program is read by a machine of our own that knows the few instructions a table of tensors
needs and five names, none of which it calls. Whatever else the file asks for is an error.
"""

import pickletools
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Shaped

from orrery.errors import OrreryError

Tensors = dict[str, Shaped[np.ndarray, "..."]]

MAGIC = 0x1950A86A20F9469CFC6C
NUMBERS = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
TENSOR, TABLE = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
CONSTANTS = {
    "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NONE", "NEWTRUE", "NEWFALSE",
}  # fmt: skip
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}


def read_old_weights(content: bytes) -> Tensors:
    """Every tensor of the file by its name.

    Raises:
        OrreryError: the file is damaged, or asks for more than a table of tensors.
    """
    stream = BytesIO(content)
    try:
        if _evaluate(stream) != MAGIC:
            raise ValueError("it does not begin as such a file does")
        _evaluate(stream), _evaluate(stream)  # the protocol, the sizes of C's types
        table, order = _evaluate(stream), _evaluate(stream)
        storages = dict(_storages(stream, table, order))
        found = {name: _tensor(what, storages) for name, what in table.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise OrreryError(f"the weights cannot be read: {error}") from error
    if stream.read(1):
        raise OrreryError("the weights cannot be read: there is more after the last number")
    return found


def _evaluate(stream: BytesIO) -> Any:
    """What one pickle builds: tables, lists, tuples and names, nothing alive."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    instructions: Any = pickletools.genops(stream)
    for code, value, _ in instructions:
        name = code.name
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name == "STOP":
            (whole,) = stack
            return whole
        elif name != "PROTO":
            _step(name, value, stack, marks)
    raise ValueError("a pickle has no end")


def _step(name: str, value: Any, stack: list[Any], marks: list[int]) -> None:
    """Do one instruction that makes or changes a value."""
    if name in CONSTANTS:
        stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, value))
    elif name in EMPTY:
        stack.append(EMPTY[name]())
    elif name == "GLOBAL":
        if value not in (TENSOR, TABLE, *NUMBERS):
            raise ValueError(f"it names {value!r}, which is no part of a table of tensors")
        stack.append(value)
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append({} if called == TABLE else (called, *arguments))
    elif name == "BUILD":
        stack.pop()  # attributes of the table: versions of modules
    elif name != "BINPERSID":  # a storage stays the tuple that describes it
        _gather(name, stack, marks)


def _gather(name: str, stack: list[Any], marks: list[int]) -> None:
    """Put the values on top into a tuple, or into the list or table below them."""
    if name in SIZES:
        start = len(stack) - SIZES[name]
    elif name in ("TUPLE", "SETITEMS", "APPENDS"):
        start = marks.pop()
    else:
        raise ValueError(f"it holds the instruction {name}")
    items = stack[start:]
    del stack[start:]
    if name.startswith("TUPLE"):
        stack.append(tuple(items))
    elif name.startswith("APPEND"):
        stack[-1].extend(items)
    else:
        stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _storages(stream: BytesIO, table: dict[str, Any], order: list[str]) -> Iterator[Any]:
    """The numbers of every storage, in the order in which they lie in the file."""
    kinds = {storage[2]: (storage[1], storage[4]) for _, storage, *_ in table.values()}
    for key in order:
        kind, count = kinds[key]
        (written,) = struct.unpack("<q", stream.read(8))
        if written != count:
            raise ValueError(f"a storage has {written} numbers in place of {count}")
        dtype = np.dtype(NUMBERS[kind])
        yield key, np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)


def _tensor(what: tuple[Any, ...], storages: dict[str, Any]) -> Shaped[np.ndarray, "..."]:
    """A tensor, copied out of its storage row by row, however it lies there."""
    called, storage, offset, size, stride, *_ = what
    numbers = storages[storage[2]]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    inside = offset >= 0 and last < len(numbers) and min(*size, *stride, 1, 1) >= 0
    if called != TENSOR or not (inside or 0 in size):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, steps).copy()
