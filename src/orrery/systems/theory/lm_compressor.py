"""A language model as a lossless compressor: the model predicts, an arithmetic coder writes.

Encoder and decoder run the same model. Before each symbol it gives the chance of every symbol
that may come; the coder spends -log2 of the chance of the one that does come; then both show it to
the model. So a text takes as many bits as the model is surprised by it, its cross-entropy, and the
better the prediction, the smaller the file.

    bits per character = cross-entropy in nats a token / ln 2 / characters a token

Source: Shannon 1948, "A Mathematical Theory of Communication"; Deletang et al. 2024, "Language
Modeling Is Compression", arXiv:2309.10668, section 2.
Differs from the paper: besides a GPT, a context-mixing model (`context_mixing`), which is faster
and, on a file of a megabyte, better; both learn online, so that no weights have to be sent.

A compressed file: magic, version, model, size of the content, the start of the content's SHA-256,
CRC-32 of the whole file, code. The CRC refuses a damaged file before any work; the SHA-256 refuses
a decoder that went another way than the encoder. So wrong bytes never come out.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8, UInt32

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.systems.theory.arithmetic_coder import Decoder, Encoder
from orrery.systems.theory.context_mixing import ContextMixing

SYSTEM = System(
    stem="lm_compressor", area="theory", title="Language model as a compressor", year=2023,
    papers=("arXiv:2309.10668", "Shannon 1948"),
    builds_on=("arithmetic_coder", "context_mixing", "gpt_predictor"),
    realises=("lm-compressor", "bits-per-character"),
)  # fmt: skip

Model = Literal["mixing", "gpt"]
"""mixing: context mixing, about as fast as it is good. gpt: a Transformer that learns online."""
MODELS: tuple[Model, ...] = get_args(Model)  # a file names its model by the place in this list

MAGIC = b"\x93ORZ"
VERSION = 1
HEADER = struct.Struct("<4sBBQ8sI")
LARGEST = 2**30
MOST_PER_BYTE = 2**19
"""Bytes of text that a byte of code can hold: no model is surer than 1 - 2^-16 of a bit."""


@runtime_checkable
class Predictor(Protocol):
    """A model that reads symbols, one of each lane at a time, and predicts the next ones."""

    @property
    def alphabet(self) -> int:
        """256: symbols are bytes; 2: they are bits, the high bit of a byte first."""
        ...

    @property
    def lanes(self) -> int:
        """Parts of the text that it reads side by side."""
        ...

    def predict(self) -> UInt32[np.ndarray, "lanes alphabet"]:
        """Frequencies of the next symbol of each lane, at least 1 each."""
        ...

    def update(self, symbols: UInt8[np.ndarray, " lanes"]) -> None:
        """Take in the symbols that came."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text is cut into lanes: of equal length, but for the end of the text."""

    symbols: int
    lanes: int

    @property
    def steps(self) -> int:
        """Symbols of a lane."""
        return -(-self.symbols // self.lanes)

    def present(self) -> Iterator[Bool[np.ndarray, " lanes"]]:
        """For each step, which lanes still have a symbol."""
        starts = np.arange(self.lanes) * self.steps
        for step in range(self.steps):
            yield (starts + step < self.symbols) & (step < self.steps)

    def cut(self, text: UInt8[np.ndarray, " symbols"]) -> UInt8[np.ndarray, "steps lanes"]:
        """The text in lanes, zeros after its end."""
        padded = np.zeros(self.lanes * self.steps, dtype=np.uint8)
        padded[: self.symbols] = text
        return padded.reshape(self.lanes, self.steps).T

    def join(self, lanes: UInt8[np.ndarray, "steps lanes"]) -> UInt8[np.ndarray, " symbols"]:
        """The text that was cut."""
        return lanes.T.reshape(-1)[: self.symbols]


def encode(data: bytes, predictor: Predictor) -> bytes:
    """The code of `data`; any predictor."""
    text = np.frombuffer(data, dtype=np.uint8)
    text = np.unpackbits(text) if predictor.alphabet == 2 else text
    layout = Layout(len(text), predictor.lanes)
    encoder = Encoder()
    for symbols, present in zip(layout.cut(text), layout.present(), strict=True):
        frequencies = predictor.predict()
        for lane in np.flatnonzero(present):
            encoder.encode_symbol(int(symbols[lane]), frequencies[lane])
        predictor.update(symbols)
    return encoder.finish()


def decode(code: bytes, size: int, predictor: Predictor) -> bytes:
    """The `size` bytes that `encode` made `code` from with a predictor that began like this one."""
    bits = predictor.alphabet == 2
    layout = Layout(8 * size if bits else size, predictor.lanes)
    decoder = Decoder(code)
    text = np.zeros((layout.steps, layout.lanes), dtype=np.uint8)
    for symbols, present in zip(text, layout.present(), strict=True):
        frequencies = predictor.predict()
        for lane in np.flatnonzero(present):
            symbols[lane] = decoder.decode_symbol(frequencies[lane])
        predictor.update(symbols)
    joined = layout.join(text)
    return (np.packbits(joined) if bits else joined).tobytes()


def compress(data: bytes, model: Model = "mixing") -> bytes:
    """A file that `decompress` turns back into `data`.

    Raises:
        ValueError: data is too long, or there is no such model.
    """
    number = number_of(model)
    if len(data) > LARGEST:
        raise ValueError(f"data must be at most {LARGEST:,} bytes, got {len(data):,}")
    code = ContextMixing(len(data)).encode(data) if model == "mixing" else encode(data, _gpt())
    digest = hashlib.sha256(data).digest()[:8]
    fields = (MAGIC, VERSION, number, len(data), digest)
    return HEADER.pack(*fields, _checksum(HEADER.pack(*fields, 0), code)) + code


def decompress(packed: bytes) -> bytes:
    """The bytes that were compressed.

    Raises:
        OrreryError: this is no compressed file, it is damaged, or it was written by a newer
            version or a machine that computes otherwise.
    """
    if packed[: len(MAGIC)] != MAGIC[: len(packed)] or not packed:
        raise OrreryError("not a file that orrery compressed")
    if len(packed) < HEADER.size:
        raise OrreryError(f"the file is cut off: {len(packed)} bytes, no whole header")
    header, code = packed[: HEADER.size], packed[HEADER.size :]
    *fields, checksum = HEADER.unpack(header)
    _, version, model, size, digest = fields
    if version != VERSION:
        raise OrreryError(f"format version is {version}; this orrery reads version {VERSION}")
    if checksum != _checksum(HEADER.pack(*fields, 0), code):
        raise OrreryError("the file is damaged or cut off: its checksum is wrong")
    if model >= len(MODELS) or size > LARGEST:
        raise OrreryError(f"the file names model {model} and {size:,} bytes: not made by orrery")
    if size > MOST_PER_BYTE * (len(code) + 1):
        raise OrreryError(f"the file claims {size:,} bytes, more than its code can hold")
    if MODELS[model] == "mixing":
        data = ContextMixing(size).decode(code, size)
    else:
        data = decode(code, size, _gpt())
    if hashlib.sha256(data).digest()[:8] != digest:
        raise OrreryError(
            f"decoding with model {MODELS[model]!r} went another way than encoding: "
            "the file was written on a machine, or with a library, that computes otherwise"
        )
    return data


def number_of(model: str) -> int:
    """The number by which a file names its model.

    Raises:
        ValueError: there is no such model.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    return MODELS.index(model)


def _checksum(header: bytes, code: bytes) -> int:
    return zlib.crc32(code, zlib.crc32(header))


def _gpt() -> Predictor:
    from orrery.systems.theory.gpt_predictor import OnlineConfig, online_gpt  # loads torch

    return online_gpt(OnlineConfig())
