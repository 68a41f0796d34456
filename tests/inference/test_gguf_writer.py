import os
import struct

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.inference.gguf_blocks import FORMATS
from orrery.inference.gguf_writer import (
    FILE_TYPES,
    NUMBERS_OF_FORMATS,
    Packed,
    converted,
    pack,
    setting,
    write_gguf,
)
from orrery.systems.language.gguf_llama import read_llama, read_vocabulary
from tests.inference.tiny_gguf import tiny_llama
from tests.inference.tiny_gguf import write_gguf as write_theirs

SETTINGS = {
    "general.architecture": "llama", "a.flag": True, "a.number": 7, "a.negative": -3,
    "a.large": 1 << 40, "a.float": 0.5, "a.texts": ["one", "", "zwölf"], "a.none": [],
}  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(
        st.lists(st.integers(1, 4), max_size=3).map(lambda front: (*front, 32)), max_size=4
    ),
    name=st.sampled_from(list(FILE_TYPES)), alignment=st.sampled_from([8, 32, 64]),
)  # fmt: skip
def test_what_is_written_is_read_by_us_and_by_the_library(
    tmp_path_factory, shapes, name, alignment
):
    path = tmp_path_factory.mktemp("gguf") / "made.gguf"
    tensors = {f"t{i}.weight": torch.randn(shape) for i, shape in enumerate(shapes)}
    packed = {one: pack(tensor, name) for one, tensor in tensors.items()}
    write_gguf(path, SETTINGS | {"general.alignment": alignment}, packed)
    ours, theirs = Gguf(path), gguf.GGUFReader(path)
    assert {k: ours.settings[k] for k in SETTINGS} == SETTINGS
    assert list(ours.tensors) == list(tensors)
    assert {field for field in theirs.fields if not field.startswith("GGUF")} == {
        *SETTINGS, "general.alignment"
    }  # fmt: skip
    for one in theirs.tensors:
        assert tuple(reversed(one.shape.tolist())) == tensors[one.name].shape
        assert one.tensor_type.name == name
        assert one.data_offset % alignment == 0
        read = gguf.dequantize(one.data, one.tensor_type).reshape(tensors[one.name].shape)
        torch.testing.assert_close(ours.tensor(one.name), torch.from_numpy(np.array(read)))
    if name == "F32":
        assert all(torch.equal(ours.tensor(one), tensor) for one, tensor in tensors.items())


@pytest.mark.parametrize("name", FILE_TYPES)
@pytest.mark.parametrize("source", ["F32", "Q8_0"])
def test_a_model_in_another_format_computes_nearly_the_same(tmp_path, source, name):
    old = Gguf(write_theirs(tmp_path / "old.gguf", tiny_llama(), source))
    write_gguf(tmp_path / "new.gguf", *converted(old, name))
    new = Gguf(tmp_path / "new.gguf")
    assert new.settings["general.file_type"] == FILE_TYPES[name]
    assert gguf.LlamaFileType(FILE_TYPES[name]).name in (f"MOSTLY_{name}", f"ALL_{name}")
    for one, stored in new.tensors.items():
        was = old.tensors[one]
        expected = "Q8_0" if one == "token_embd.weight" and name.startswith("Q4") else name
        assert stored.shape == was.shape
        assert stored.format.name == (expected if len(stored.shape) > 1 else "F32")
    ids = torch.arange(20)[None] % 60
    before, after = read_llama(old)(ids).logits, read_llama(new)(ids).logits
    worst = {"F32": 1e-6, "F16": 0.01, "Q8_0": 0.05, "Q4_0": 0.5, "Q4_1": 0.4}[name]
    assert (after - before).std() < worst * before.std()
    assert read_vocabulary(new).tokens == read_vocabulary(old).tokens


def test_settings_are_copied_to_the_byte(tmp_path):
    path = write_theirs(tmp_path / "old.gguf", tiny_llama())
    writer = gguf.GGUFWriter(tmp_path / "kinds.gguf", "llama")
    for i, add in enumerate(
        (writer.add_uint8, writer.add_int16, writer.add_uint64, writer.add_float64)
    ):
        add(f"k{i}", 3)
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for one in (path, tmp_path / "kinds.gguf"):
        old = Gguf(one)
        write_gguf(tmp_path / "new.gguf", *converted(old, "F32"))
        new = Gguf(tmp_path / "new.gguf")
        added = {"general.file_type", "general.quantization_version"}
        assert set(new.settings) - added == set(old.settings) - added
        assert all(
            new.setting_bytes(name) == old.setting_bytes(name) for name in set(old.settings) - added
        )


def test_a_second_time_changes_nothing(tmp_path):
    write_theirs(tmp_path / "0.gguf", tiny_llama())
    for i in (1, 2):
        file = Gguf(tmp_path / f"{i - 1}.gguf")
        write_gguf(tmp_path / f"{i}.gguf", *converted(file, "Q4_1"))
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "2.gguf").read_bytes()


def test_rows_that_blocks_do_not_fill_stay(tmp_path):
    tensors = {
        "a.weight": pack(torch.randn(3, 40), "F16"),
        "b.weight": pack(torch.randn(64), "F32"),
    }
    write_gguf(tmp_path / "old.gguf", {}, tensors)
    _, made = converted(Gguf(tmp_path / "old.gguf"), "Q8_0")
    assert made == tensors


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "made.gguf"
    write_gguf(path, {"a": 1}, {})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OrreryError, match="no space left"):
        write_gguf(path, {"a": 2}, {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["made.gguf"]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"format must be one of F32, .*, got 'Q6_K'"):
        pack(torch.zeros(2, 32), "Q6_K")
    with pytest.raises(ValueError, match=r"Q8_0 needs rows of 32s, got the shape \(2, 31\)"):
        pack(torch.zeros(2, 31), "Q8_0")
    with pytest.raises(
        ValueError, match="must fit into 64 bits, got 1267650600228229401496703205376"
    ):
        setting(1 << 100)
    with pytest.raises(ValueError, match=r"x must have the bytes of \(2, 32\) in F32"):
        write_gguf(tmp_path / "x", {}, {"x": Packed((2, 32), "F32", b"")})
    write_gguf(tmp_path / "nan.gguf", {}, {"x": pack(torch.full((2, 32), torch.nan), "F32")})
    with pytest.raises(OrreryError, match=r"nan\.gguf is refused: x: numbers must be within"):
        converted(Gguf(tmp_path / "nan.gguf"), "Q8_0")
    with pytest.raises(ValueError, match=r"format must be one of .*, got 'Q4_K'"):
        converted(Gguf(tmp_path / "nan.gguf"), "Q4_K")
    assert setting(b"raw") == b"raw"
    assert setting(-1) == struct.pack("<Iq", 11, -1)
    assert all(NUMBERS_OF_FORMATS[name] in FORMATS for name in FILE_TYPES)
