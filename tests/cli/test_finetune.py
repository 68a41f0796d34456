"""`orrery finetune`: a tiny model learns to answer, stops, goes on, and is kept."""

import json
from types import SimpleNamespace

import pytest
import torch

import orrery
from orrery.cli import finetune
from orrery.cli.main import guarded
from orrery.errors import Interrupted, OrreryError, UsageError
from orrery.systems.language.llm_finetune import load_adapters
from tests.inference.tiny_gguf import tiny_llama, write_gguf

STEPS = ["--steps", "25", "--batch", "4", "--rate", "0.02"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    questions = folder / "questions.jsonl"
    lines = [{"prompt": f"{a}{b}", "answer": "the"} for a in "abcde" for b in "uvwxyz"]
    questions.write_text("\n".join(map(json.dumps, lines)))
    return questions, write_gguf(folder / "tiny.gguf", tiny_llama())


def run(files, folder, *more):
    questions, model = files
    return finetune.main(
        [str(questions), "--model", str(model), "--out", str(folder), *STEPS, *more]
    )


def test_what_is_asked_for_is_learnt_and_kept_as_peft_has_it(files, tmp_path, capsys):
    assert run(files, tmp_path / "adapter", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["held_out"] == 3
    assert (told["exact_before"], told["exact_after"]) == (0, 1)
    assert told["loss_after"] < 0.1 < 1 < told["loss_before"]
    assert json.loads((tmp_path / "adapter" / "finetune.json").read_text()) == told
    assert load_adapters(tiny_llama(), tmp_path / "adapter").rank == 8


def test_all_weights_are_kept_as_a_folder_that_loads(files, tmp_path, capsys):
    assert run(files, tmp_path / "whole", "--method", "full", "--json") == 0
    assert json.loads(capsys.readouterr().out)["exact_after"] == 1
    model = orrery.load(tmp_path / "whole")
    assert not model.embed.weight.equal(tiny_llama().embed.weight)
    assert json.loads((tmp_path / "whole" / "tokenizer_config.json").read_text())["chat_template"]


def test_stopped_and_begun_again_it_comes_out_the_same(files, tmp_path, capsys, monkeypatch):
    run(files, tmp_path / "at once")
    minutes = iter([0, *[1] * 7, *[1000] * 1000])
    monkeypatch.setattr(finetune, "time", SimpleNamespace(monotonic=lambda: float(next(minutes))))
    with pytest.raises(Interrupted, match="resume to go on"):
        run(files, tmp_path / "twice", "--minutes", "10")
    assert not (tmp_path / "twice" / "adapter_model.safetensors").exists()
    monkeypatch.undo()
    run(files, tmp_path / "twice")
    weights = [
        (tmp_path / folder / "adapter_model.safetensors").read_bytes()
        for folder in ("at once", "twice")
    ]
    assert weights[0] == weights[1]


def test_what_cannot_be_done_is_said(files, tmp_path):
    questions, model = files
    for argv, said in (
        (["nothing", "--out", "x"], "DATA must be movies, poems or a file"),
        (["movies", "--out", "x", "--steps", "0"], "--steps must be above 0"),
        (["movies", "--out", "x", "--rate", "nan"], "--rate must be above 0"),
    ):
        with pytest.raises(UsageError, match=said):
            finetune.main(argv)
    with pytest.raises(OrreryError, match="longer than --context 3"):
        run(files, tmp_path, "--context", "3")
    (tmp_path / "file").write_text("")
    with pytest.raises(OrreryError, match="cannot make"):
        run(files, tmp_path / "file")
    assert guarded(["finetune", str(questions), "--model", str(model)]) == 2


def test_nothing_of_a_prompt_is_learnt(files, tmp_path):
    """The loss is of answers alone, whatever stands in the prompts."""
    from orrery.cli.finetune import _rows
    from orrery.data.questions import asked
    from orrery.inference.answers import padded
    from orrery.systems.language.local_llm import LocalLlm

    llm = LocalLlm(files[1])
    (row,) = _rows(llm, [asked("ab", "the")], 256)
    tokens, marks = padded([row])
    learnt = tokens[marks.bool()].tolist()
    assert learnt == [*llm.tokenizer.encode("the"), llm.end]
    assert torch.equal(tokens[0, : len(row.prompt)], torch.tensor(row.prompt))
