"""`orrery.inference.gguf`: what it reads, and what it refuses in one line."""

import contextlib
import struct
import time
import tracemalloc

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from tests.inference.tiny_gguf import tiny_llama, write_gguf


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_llama(), "Q4_1")


@pytest.mark.parity
def test_settings_and_tensors_are_those_that_the_library_reads(small):
    ours, theirs = Gguf(small), gguf.GGUFReader(small)
    assert ours.setting("llama.block_count", int) == 2
    assert ours.setting("tokenizer.ggml.tokens", list)[:2] == ["<|endoftext|>", "<|im_start|>"]
    assert len(ours.tensors) == len(theirs.tensors)
    for one in theirs.tensors:
        want = np.array(gguf.dequantize(one.data, one.tensor_type))
        found = ours.tensor(one.name)
        torch.testing.assert_close(found, torch.from_numpy(want).reshape(found.shape))


def refused(tmp_path, data):
    """The line with which a file is refused, in little time and memory."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(OrreryError) as caught:
        Gguf(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - start < 2
    assert peak < 256e6
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def test_a_file_cut_short_anywhere_is_refused(small, tmp_path):
    whole = small.read_bytes()
    head = len(whole) - sum(one.size for one in Gguf(small).tensors.values())
    cuts = [*range(0, 64, 3), *range(64, head, 301), *range(head, len(whole) - 32, 9_001)]
    for cut in cuts:
        refused(tmp_path, whole[:cut])


def text(value):
    return struct.pack("<Q", len(value)) + value


def head(tensors=0, settings=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, settings)


def tensor(name=b"w", sizes=(32,), kind=0, start=0):
    shape = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
    return text(name) + shape + struct.pack("<IQ", kind, start)


HUGE = 2**63
BAD = {
    "another magic": (b"GGML" + head()[4:], "begin with GGUF"),
    "version": (head(version=99), "version"),
    "settings without end": (head(settings=2**64 - 1), "more than the file"),
    "tensors without end": (head(tensors=2**64 - 1), "more than the file"),
    "a name of 2^64 - 1 bytes": (
        head(settings=1) + struct.pack("<Q", 2**64 - 1) + bytes(40), "beyond the end",
    ),
    "an array of 2^63 numbers": (
        head(settings=1) + text(b"a") + struct.pack("<IIQ", 9, 4, HUGE) + bytes(40), "more than",
    ),
    "an array of 2^63 texts": (
        head(settings=1) + text(b"a") + struct.pack("<IIQ", 9, 8, HUGE) + bytes(40), "more than",
    ),
    "arrays in arrays": (
        head(settings=1) + text(b"a") + struct.pack("<IIQ", 9, 9, 1) + bytes(40), "unknown kind",
    ),
    "an unknown kind": (head(settings=1) + text(b"a") + struct.pack("<I", 77) + bytes(9), "kind"),
    "a setting twice": (
        head(settings=2) + 2 * (text(b"a") + struct.pack("<IB", 0, 1)) + bytes(9), "twice",
    ),
    "not UTF-8": (head(settings=1) + text(b"\xff\xfe") + struct.pack("<IB", 0, 1), "UTF-8"),
    "no axes": (head(1) + tensor(sizes=()) + bytes(64), "axes"),
    "five axes": (head(1) + tensor(sizes=(32,) * 5) + bytes(64), "axes"),
    "a shape that overflows": (head(1) + tensor(sizes=(2**32, 2**32, 2**32)) + bytes(64), "beyond"),
    "no numbers": (head(1) + tensor(sizes=(0,)) + bytes(64), "rows"),
    "half a block": (head(1) + tensor(sizes=(33,), kind=3) + bytes(64), "rows of 32"),
    "an unknown format": (head(1) + tensor(kind=999) + bytes(64), "kind 999"),
    "not aligned": (head(1) + tensor(start=5) + bytes(512), "aligned"),
    "a start of 2^63": (head(1) + tensor(start=HUGE) + bytes(512), "beyond"),
    "overlapping": (
        head(2) + tensor() + tensor(b"v", start=32) + bytes(512), "overlaps",
    ),
    "a tensor twice": (head(2) + 2 * tensor() + bytes(512), "twice"),
    "an alignment of zero": (
        head(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 0), "alignment",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_file_is_refused_in_one_line(name, tmp_path):
    data, hint = BAD[name]
    assert hint in refused(tmp_path, data)


def test_no_file_an_empty_one_and_a_folder(tmp_path):
    with pytest.raises(OrreryError, match="cannot read"):
        Gguf(tmp_path / "none")
    with pytest.raises(OrreryError, match="cannot read"):
        Gguf(tmp_path)
    assert "empty" in refused(tmp_path, b"")


@given(seed=st.integers(0, 2**32), flips=st.integers(1, 20))
def test_any_change_of_the_head_is_read_or_refused(seed, flips, small):
    rng = np.random.default_rng(seed)
    data = bytearray(small.read_bytes())
    for _ in range(flips):
        data[rng.integers(0, 3_000)] = rng.integers(0, 256)
    path = small.with_name(f"flipped-{seed}.gguf")
    path.write_bytes(data)
    with contextlib.suppress(OrreryError):
        file = Gguf(path)
        for name in file.tensors:
            file.tensor(name)
    path.unlink()


def test_a_setting_of_another_kind_or_none_is_named(small):
    file = Gguf(small)
    with pytest.raises(OrreryError, match=r"llama\.block_count must be str"):
        file.setting("llama.block_count", str)
    with pytest.raises(OrreryError, match="nothing is missing"):
        file.setting("nothing", int)
    with pytest.raises(OrreryError, match="no tensor nothing"):
        file.tensor("nothing")
    assert file.setting("nothing", int, 7) == 7
