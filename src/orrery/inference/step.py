"""The compiled step: a few tokens of a Llama, read or written, by a small library in C.

A token written on a processor waits for its weights: what counts is how few bytes they are and
that nothing else takes time. `step.c` reads weights of four or eight bits in the order in which
they lie, rounds activations to fifteen bits, and runs a whole step on a few threads without
returning to Python. Up to 64 tokens share a step and read the weights once: neighbours of one
text, or the next tokens of several. It is compiled when the package is built, where there is a C
compiler.
"""

import contextlib
import ctypes
import functools
import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from orrery.errors import OrreryError

LIBRARY = Path(__file__).with_name("step.native")  # no ending of a module: it is none
EDITION, ROWS, GROUP, MOST_TOKENS = 2, 16, 32, 64  # as in step.c
KERNELS = ("plain", "bytes", "tiles")
"""What products are made of: plain C, products of bytes (AVX-512 VNNI), of tiles (AMX)."""
BLOCK_BYTES = {4: 320, 8: 544}  # of sixteen rows of a group
STORED_BYTES = {18: 4, 20: 4, 34: 8, 0: 8}  # of a group in a file, 0 for floats: bits here


class CMatrix(ctypes.Structure):
    """As in step.c."""

    _fields_ = (
        ("blocks", ctypes.c_void_p), ("rows", ctypes.c_int32), ("columns", ctypes.c_int32),
        ("bits", ctypes.c_int32),
    )  # fmt: skip


class CLayer(ctypes.Structure):
    """As in step.c."""

    _fields_ = (
        ("norm_attention", ctypes.c_void_p), ("norm_feed_forward", ctypes.c_void_p),
        ("qkv", CMatrix), ("out", CMatrix), ("gate_up", CMatrix), ("down", CMatrix),
    )  # fmt: skip


class CModel(ctypes.Structure):
    """As in step.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in (
            "layers", "width", "heads", "key_heads", "head_size", "inner", "vocab", "context",
        )),
        ("epsilon", ctypes.c_float), ("layer", ctypes.POINTER(CLayer)), ("norm", ctypes.c_void_p),
        ("head", CMatrix), ("cosines", ctypes.c_void_p), ("sines", ctypes.c_void_p),
    )  # fmt: skip


class CText(ctypes.Structure):
    """As in step.c."""

    _fields_ = (
        ("keys", ctypes.c_void_p), ("values", ctypes.c_void_p), ("capacity", ctypes.c_int32),
        ("place", ctypes.c_int32),
    )  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, None where the package was built without a C compiler.

    One that an older step.c left behind is none: it would be called in a way it does not know.
    """
    if not LIBRARY.is_file():
        return None
    found = ctypes.CDLL(str(LIBRARY))
    if not hasattr(found, "orrery_edition") or found.orrery_edition() != EDITION:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int
    found.orrery_open.restype = pointer
    found.orrery_open.argtypes = [pointer, number, number]
    found.orrery_close.argtypes = [pointer]
    found.orrery_step.argtypes = [pointer, pointer, number, pointer, number, pointer]
    found.orrery_pack.argtypes = [pointer, number, pointer, number, number, number, pointer]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredMap:
    """A map as it is stored, and which of its rows stands where."""

    stored: UInt8[Tensor, "_ _"] | Float[Tensor, "_ _"]
    """Groups by bytes as in a GGUF file (Q4_0, Q4_1, Q8_0), or rows of single precision."""
    order: Int[Tensor, " n"]
    """The row that comes first, second, ..."""


class Arena:
    """Memory for weights, side by side in the order of asking, on large pages where there are some.

    With pages of 4 KiB a processor that reads weights as fast as it can waits for the table of
    pages as long as for the weights.
    """

    PIECE = 1 << 26  # asked for at once; what is not used of it takes no memory

    def __init__(self) -> None:
        self.free = torch.empty(0, dtype=torch.uint8)

    def zeros(self, rows: int, size: int) -> UInt8[Tensor, "rows size"]:
        """So many rows of bytes."""
        wanted = -(-rows * size // 64) * 64
        if wanted > len(self.free):
            kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory has no large pages
            piece = mmap.mmap(-1, max(wanted, self.PIECE), flags=kind)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with contextlib.suppress(OSError):  # a system without large pages
                    piece.madvise(mmap.MADV_HUGEPAGE)
            self.free = torch.frombuffer(piece, dtype=torch.uint8)
        taken, self.free = self.free[: rows * size], self.free[wanted:]
        return taken.view(rows, size)


class Matrix:
    """Maps of one input, packed."""

    def __init__(
        self,
        maps: Sequence[StoredMap],
        columns: int,
        *,
        in_turn: bool = False,
        arena: Arena | None = None,
    ) -> None:
        """Pack.

        Args:
            maps: stored alike; of all but the last a multiple of 16 rows.
            columns: numbers of a row, a multiple of 32.
            in_turn: blocks of 16 rows of each map in turn, in place of map after map.
            arena: where the weights are to lie, beside others; alone if not given.

        Raises:
            OrreryError: sizes do not fit, or the package was built without a compiler.
        """
        native = library()
        if native is None:
            raise OrreryError("orrery was built without a C compiler: there is no compiled step")
        kinds = {0 if rows.stored.is_floating_point() else rows.stored.shape[1] for rows in maps}
        counts = [len(rows.order) for rows in maps]
        uneven = [count for count in counts[:-1] if count % ROWS]
        if len(kinds) != 1 or not kinds <= STORED_BYTES.keys() or columns % GROUP or uneven:
            raise OrreryError(
                f"maps must be stored alike, with rows of a multiple of {GROUP} numbers, and of "
                f"{ROWS} rows: {counts} rows of {columns}, stored as {sorted(kinds)}"
            )
        (bytes_,) = kinds
        self.bits, self.columns, self.rows = STORED_BYTES[bytes_], columns, sum(counts)
        size = columns // GROUP * BLOCK_BYTES[self.bits]
        blocks = [-(-count // ROWS) for count in counts]
        if arena is None:
            self.packed = torch.zeros(sum(blocks), size, dtype=torch.uint8)
        else:
            self.packed = arena.zeros(sum(blocks), size)
        first = 0
        for i, (rows, count) in enumerate(zip(maps, counts, strict=True)):
            stored, order = rows.stored.contiguous(), rows.order.int().contiguous()
            native.orrery_pack(
                stored.data_ptr(), bytes_, order.data_ptr(), count, columns,
                len(maps) if in_turn else 1, self.packed[i if in_turn else first].data_ptr(),
            )  # fmt: skip
            first += blocks[i]

    def described(self) -> CMatrix:
        """For C."""
        return CMatrix(self.packed.data_ptr(), self.rows, self.columns, self.bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLayer:
    """A layer's weights."""

    norm_attention: Float[Tensor, " d"]
    norm_feed_forward: Float[Tensor, " d"]
    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix

    @property
    def matrices(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """All maps, in the order of step.c."""
        return self.qkv, self.out, self.gate_up, self.down


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSizes:
    """Of a model."""

    width: int
    heads: int
    key_heads: int
    head_size: int
    inner: int
    vocab: int
    context: int
    epsilon: float


class PlaceCache:
    """Keys and values of the tokens seen so far, in half precision; full, its room doubles."""

    def __init__(self, layers: int, key_heads: int, head_size: int) -> None:
        self.length = 0
        self.keys = torch.zeros(layers, key_heads, GROUP, head_size, dtype=torch.float16)
        self.values = torch.zeros_like(self.keys)

    def __len__(self) -> int:
        return self.length

    def grow(self, tokens: int) -> None:
        """Make room for more tokens."""
        while self.length + tokens > self.keys.shape[2]:
            self.keys = torch.cat([self.keys, torch.zeros_like(self.keys)], dim=2)
            self.values = torch.cat([self.values, torch.zeros_like(self.values)], dim=2)

    def beginning(self, length: int) -> "PlaceCache":
        """A copy of the first `length` tokens."""
        layers, key_heads, _, size = self.keys.shape
        copy = PlaceCache(layers, key_heads, size)
        copy.grow(length)
        copy.keys[:, :, :length] = self.keys[:, :, :length]
        copy.values[:, :, :length] = self.values[:, :, :length]
        copy.length = length
        return copy

    def take(self, rows: Tensor) -> None:
        """There is one text, and it goes on."""
        assert rows.tolist() == [0], rows

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.length = min(self.length, length)


class Step:
    """A model's threads."""

    def __init__(
        self,
        sizes: StepSizes,
        layers: Sequence[StepLayer],
        norm: Float[Tensor, " d"],
        head: Matrix,
        turns: tuple[Float[Tensor, "places half"], Float[Tensor, "places half"]],
        *,
        threads: int,
        kernels: str = "tiles",
    ) -> None:
        """Start the threads.

        Args:
            sizes: of the model.
            layers: their weights.
            norm: the gain before the scores.
            head: scores the vocabulary.
            turns: cosines and sines by which queries and keys are turned at each place.
            threads: how many work on a token.
            kernels: the best of `KERNELS` to use; the processor may not have it, and uses less.

        Raises:
            OrreryError: the threads cannot be started.
        """
        native = library()
        assert native is not None, "a Matrix has been packed"
        self.native, self.sizes, self.layers, self.head = native, sizes, tuple(layers), head
        described = (CLayer * len(layers))()
        self.kept: list[Any] = [described]
        for place, layer in enumerate(layers):
            described[place] = CLayer(
                self.pointer(layer.norm_attention), self.pointer(layer.norm_feed_forward),
                *(one.described() for one in layer.matrices),
            )  # fmt: skip
        self.model = CModel(
            len(layers), sizes.width, sizes.heads, sizes.key_heads, sizes.head_size, sizes.inner,
            sizes.vocab, sizes.context, sizes.epsilon, described, self.pointer(norm),
            head.described(), self.pointer(turns[0]), self.pointer(turns[1]),
        )  # fmt: skip
        self.lock = threading.Lock()
        self.pool = native.orrery_open(ctypes.byref(self.model), threads, KERNELS.index(kernels))
        if self.pool is None:
            raise OrreryError(f"{threads} threads for a model cannot be started")

    @property
    def bytes(self) -> int:
        """What the weights take in memory."""
        matrices = [one for layer in self.layers for one in layer.matrices] + [self.head]
        gains = (2 * len(self.layers) + 1) * self.sizes.width * 4
        return gains + sum(one.packed.numel() for one in matrices)

    def pointer(self, values: Tensor) -> int:
        """Where the values lie, in single precision; they are kept as long as this is."""
        values = values.float().contiguous()
        self.kept.append(values)
        return values.data_ptr()

    def new_cache(self) -> PlaceCache:
        """Of a text that begins."""
        return PlaceCache(len(self.layers), self.sizes.key_heads, self.sizes.head_size)

    def read(self, embeddings: Float[Tensor, "t d"], cache: PlaceCache) -> Float[Tensor, "1 v"]:
        """Read on in a text; scores of the token after the last one.

        Args:
            embeddings: of the tokens.
            cache: of the text before them; it is brought up to date.

        Raises:
            ValueError: there is no token, or the text gets longer than the context.
        """
        self.make_room(cache, len(embeddings))
        *parts, last = embeddings.split(MOST_TOKENS)
        for part in parts:
            self.read_part(part, cache, scored=0)
        return self.read_part(last, cache, scored=1)

    def read_part(
        self, part: Float[Tensor, "t d"], cache: PlaceCache, *, scored: int
    ) -> Float[Tensor, "n v"]:
        """Up to 64 tokens of one text."""
        places = range(cache.length, cache.length + len(part))
        scores = self.step(part, [(cache, place) for place in places], scored=scored)
        cache.length += len(part)
        return scores

    def write(
        self, embeddings: Float[Tensor, "b d"], caches: Sequence[PlaceCache]
    ) -> Float[Tensor, "b v"]:
        """Read one more token of each text; scores of the next ones.

        Each text's scores are what they would be without the others.

        Raises:
            ValueError: there is no text, or one gets longer than the context.
        """
        for cache in caches:
            self.make_room(cache, 1)
        rows, scores = [(cache, cache.length) for cache in caches], []
        for i, part in enumerate(embeddings.split(MOST_TOKENS)):
            some = rows[i * MOST_TOKENS :][: len(part)]
            scores.append(self.step(part, some, scored=len(part)))
        for cache in caches:
            cache.length += 1
        return torch.cat(scores)

    def make_room(self, cache: PlaceCache, tokens: int) -> None:
        """For more tokens of a text."""
        if len(cache) + tokens > self.sizes.context:
            raise ValueError(f"a text must be at most context={self.sizes.context} long")
        cache.grow(tokens)

    def step(
        self,
        embeddings: Float[Tensor, "t d"],
        rows: Sequence[tuple[PlaceCache, int]],
        *,
        scored: int,
    ) -> Float[Tensor, "n v"]:
        """Up to 64 tokens, each with its text and place, the last `scored` of them scored."""
        if not len(embeddings) == len(rows) > 0:
            raise ValueError(f"each token needs a text: {len(embeddings)} and {len(rows)}")
        embeddings = embeddings.float().contiguous()
        texts = (CText * len(rows))()
        for i, (cache, place) in enumerate(rows):
            capacity = cache.keys.shape[2]
            texts[i] = CText(cache.keys.data_ptr(), cache.values.data_ptr(), capacity, place)
        scores = torch.empty(scored, -(-self.sizes.vocab // ROWS) * ROWS)
        with self.lock:  # the threads work on one step at a time
            self.native.orrery_step(
                self.pool, embeddings.data_ptr(), len(rows), texts, scored, scores.data_ptr()
            )
        return scores[:, : self.sizes.vocab]

    def __del__(self) -> None:
        if getattr(self, "pool", None) is not None:
            self.native.orrery_close(self.pool)
