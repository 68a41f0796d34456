"""`orrery quantise`: a model's file in another format."""

import json

import pytest

from orrery.cli import quantise
from orrery.cli.main import guarded
from orrery.errors import OrreryError, UsageError
from orrery.inference.gguf import Gguf
from tests.inference.tiny_gguf import tiny_llama, write_gguf


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_gguf(tmp_path / "tiny.F32.gguf", tiny_llama())


@pytest.mark.parametrize("name", quantise.FORMATS)
def test_a_file_in_every_format(model, capsys, name):
    target = model.with_name("new.gguf")
    assert quantise.main([str(model), "--format", name, "--to", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "file": str(target), "bytes_before": model.stat().st_size, "bytes": target.stat().st_size
    }  # fmt: skip
    assert Gguf(target).tensors["blk.0.attn_q.weight"].format.name == name


def test_what_comes_out_can_be_talked_to(model, capsys):
    assert quantise.main([str(model), "--format", "Q8_0"]) == 0
    assert "tiny.Q8_0.gguf: " in capsys.readouterr().out
    command = ["generate", "the", "--model", "tiny.Q8_0.gguf", "--max-tokens", "3", "--json"]
    assert guarded(command) == 0
    assert json.loads(capsys.readouterr().out)["text"]


def test_without_a_file_it_is_the_model_that_comes_with_orrery(model, monkeypatch):
    monkeypatch.setattr("orrery.data.smollm2.load", lambda: model)
    assert quantise.main([]) == 0
    assert model.with_name("tiny.Q4_0.gguf").stat().st_size < model.stat().st_size / 2


def test_no_file_is_ever_overwritten(model):
    with pytest.raises(OrreryError, match="exists; name another"):
        quantise.main([str(model), "--format", "F32"])


def test_bad_usage_is_named(model, tmp_path, capsys):
    with pytest.raises(UsageError, match="no format 'Q5_0'; did you mean Q"):
        quantise.main([str(model), "--format", "Q5_0"])
    (tmp_path / "text").write_text("not a model")
    assert guarded(["quantise", "text"]) == 1
    assert guarded(["quantise", "absent"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "text is refused: it does not begin with GGUF" in lines[0]
    assert "cannot read absent" in lines[1]
    assert not (tmp_path / "text.Q4_0.gguf").exists()
