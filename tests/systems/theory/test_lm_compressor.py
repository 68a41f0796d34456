import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import OrreryError
from orrery.systems.theory import lm_compressor
from orrery.systems.theory.arithmetic_coder import information, quantise
from orrery.systems.theory.lm_compressor import (
    HEADER,
    Layout,
    compress,
    decode,
    decompress,
    encode,
)

TEXT = b"It was the best of times, it was the worst of times. " * 3


class Counts:
    """Frequencies of what each lane has seen: the smallest model that learns."""

    def __init__(self, alphabet=256, lanes=1):
        self.alphabet, self.lanes = alphabet, lanes
        self.seen = np.ones((lanes, alphabet))
        self.bits = 0.0

    def predict(self):
        return quantise(self.seen / self.seen.sum(axis=1, keepdims=True))

    def update(self, symbols):
        if self.lanes == 1:
            self.bits += information(int(symbols[0]), self.predict()[0])
        self.seen[np.arange(self.lanes), symbols] += 1


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([(256, 1), (256, 7), (2, 1), (2, 3)]))
def test_any_bytes_with_any_model_come_back(data, shape):
    code = encode(data, Counts(*shape))
    assert decode(code, len(data), Counts(*shape)) == data


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([2, 256]))
def test_the_code_is_as_long_as_the_model_is_surprised(data, alphabet):
    model = Counts(alphabet)
    assert model.bits - 16 <= 8 * len(encode(data, model)) < model.bits + 8 + 1e-6


@settings(max_examples=50)
@given(st.integers(0, 50), st.integers(1, 12))
def test_lanes_take_every_symbol_once_and_keep_the_order(symbols, lanes):
    layout, text = Layout(symbols, lanes), np.arange(symbols, dtype=np.uint8)
    cut, present = layout.cut(text), list(layout.present())
    assert len(cut) == len(present) == layout.steps
    assert sum(int(p.sum()) for p in present) == symbols
    np.testing.assert_array_equal(layout.join(cut), text)


@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(range(256))])
@pytest.mark.parametrize("model", ["mixing", "gpt"])
def test_a_file_comes_back(data, model):
    packed = compress(data, model)
    assert decompress(packed) == data
    assert packed[:4] == b"\x93ORZ"
    if data == TEXT and model == "mixing":
        assert len(packed) < 0.6 * len(data)


def test_one_text_always_gives_one_file():
    """The format is integers alone: these bytes were the same on every machine so far."""
    assert zlib.crc32(compress(TEXT)) == 3490994001


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_with_a_flipped_bit_or_a_cut_end_is_refused(data):
    packed = bytearray(compress(TEXT[:40]))
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(0, len(packed) - 1)) :]
    else:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(OrreryError) as caught:
        decompress(bytes(packed))
    assert "\n" not in str(caught.value)


def test_a_file_with_more_behind_it_is_refused():
    with pytest.raises(OrreryError, match="damaged or cut off"):
        decompress(compress(TEXT) + b"\0")


def signed(version=1, model=0, size=1, digest=bytes(8), code=b"abc"):
    """A file that somebody made by hand, with a right checksum."""
    fields = (b"\x93ORZ", version, model, size, digest)
    checksum = zlib.crc32(code, zlib.crc32(HEADER.pack(*fields, 0)))
    return HEADER.pack(*fields, checksum) + code


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "not a file that orrery compressed"),
        (b"PK\3\4 something else", "not a file that orrery compressed"),
        (b"\x93ORZ\1", "cut off: 5 bytes"),
        (signed(version=2), "version is 2; this orrery reads version 1"),
        (signed(model=9), "model 9"),
        (signed(size=2**60), "1,152,921,504,606,846,976 bytes"),
        (signed(size=2**29), "more than its code can hold"),
        (signed(), "went another way"),
    ],
)
def test_what_is_no_good_file_is_refused_in_one_line(packed, message):
    with pytest.raises(OrreryError, match=message):
        decompress(packed)


def test_bad_arguments_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="model must be one of mixing, gpt, got 'xz'"):
        lm_compressor.number_of("xz")
    monkeypatch.setattr(lm_compressor, "LARGEST", 2)
    with pytest.raises(ValueError, match="at most 2 bytes, got 3"):
        compress(b"abc")
    assert struct.calcsize("<4sBBQ8sI") == HEADER.size == 26
