"""`orrery pretrain`: one command from raw text to a model, that can be stopped anywhere."""

import json
from types import SimpleNamespace

import pytest

from orrery.cli import pretrain
from orrery.cli.main import guarded
from orrery.errors import Interrupted, OrreryError, UsageError
from tests.mixed_text import LONG_CODE, PROSE

SMALL = ["--vocab", "300", "--context", "16", "--depth", "1", "--heads", "2", "--width", "16",
         "--batch", "4"]  # fmt: skip
FILES = {
    "documents.json", "clean.json", "tokenizer.json", "model.safetensors", "evaluation.json",
    "sample.txt", "MODEL_CARD.md", "stages.json",
}  # fmt: skip


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(PROSE + LONG_CODE[:30_000])
    return path


def run(text, folder, *more):
    return pretrain.main([str(text), "--out", str(folder), *SMALL, *more])


def test_one_command_makes_a_model_and_the_same_command_makes_nothing_anew(text, tmp_path, capsys):
    folder = tmp_path / "lm"
    assert run(text, folder, "--steps", "12", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert {path.name for path in folder.iterdir()} - {"training"} == FILES
    assert 0 < first["bits a byte"] < 8
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run(text, folder, "--steps", "12") == 0
    out = capsys.readouterr().out
    assert "# A small language model" in out
    assert f"{first['bits a byte']:.3f}" in out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_more_steps_train_anew_but_clean_and_tokenise_nothing(text, tmp_path, capsys):
    folder = tmp_path / "lm"
    run(text, folder, "--steps", "2", "--json")
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    run(text, folder, "--steps", "40", "--json")
    few, many = (
        json.loads(part)["bits a byte"]
        for part in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0")
    )
    assert many < few - 0.2
    for name in ("documents.json", "clean.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == before[name]
    assert (folder / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_a_run_that_was_stopped_ends_with_the_same_weights(text, tmp_path, monkeypatch):
    assert run(text, tmp_path / "straight", "--steps", "9") == 0
    with pytest.raises(Interrupted, match="stopped after step 0 of train"):
        run(text, tmp_path / "stopped", "--steps", "9", "--minutes", "1e-9")
    end = iter([0.0, *[0.0] * 4, 10**9])  # over at the fifth step from where it goes on
    monkeypatch.setattr(pretrain, "time", SimpleNamespace(monotonic=lambda: float(next(end))))
    with pytest.raises(Interrupted, match="stopped after step 5 of train"):
        run(text, tmp_path / "stopped", "--steps", "9", "--minutes", "1")
    monkeypatch.undo()
    assert run(text, tmp_path / "stopped", "--steps", "9") == 0
    weights = [
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "stopped")
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--steps", "0"], "--steps must be above 0, got 0"),
        (["--minutes", "nan"], "--minutes must be above 0, got nan"),
        (["--vocab", "10"], "vocab must be at least 256, got 10"),
        (["--heads", "3"], "width must be a multiple of heads=3"),
        (["--seed", "-1"], "seed must be in"),
        (["--stpes", "3"], "did you mean --steps"),
    ],
)
def test_bad_usage_is_named_before_anything_is_written(text, tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        run(text, tmp_path / "lm", *more)
    assert not (tmp_path / "lm").exists()


def test_bad_files_and_folders_are_refused_in_one_line(text, tmp_path, capsys):
    with pytest.raises(OrreryError, match="cannot read"):
        run(tmp_path / "none.txt", tmp_path / "lm")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(OrreryError, match="is not text in UTF-8"):
        run(tmp_path / "binary", tmp_path / "lm")
    with pytest.raises(OrreryError, match="holds other files"):
        run(text, tmp_path)
    (tmp_path / "short.txt").write_text("too short")
    assert guarded(["pretrain", str(tmp_path / "short.txt"), "--out", str(tmp_path / "lm")]) == 1
    assert "too few: give more text" in capsys.readouterr().err
