"""`orrery.systems.language.local_llm`, and `orrery generate` and `chat` with it."""

import io
import json

import pytest
import torch
from tests.inference.tiny_gguf import tiny_llama, write_gguf

from orrery.cli.main import guarded
from orrery.errors import OrreryError
from orrery.inference.streaming import Pace, stream
from orrery.systems.language.local_llm import LocalLlm


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("llm") / "tiny.gguf", tiny_llama(4), "Q4_1")


@pytest.fixture(scope="module")
def model(path):
    return LocalLlm(path)


def test_a_conversation_is_read_once(model):
    """The second prompt begins with the first and its answer: only the rest is read."""
    said = [{"role": "user", "content": "the one"}]
    read, pace = model.nothing_read(), Pace()
    first = model.prompt(said)
    answer = "".join(model.write(first, read=read, pace=pace, max_new_tokens=9))
    assert pace.prompt_tokens == len(first)
    said += [{"role": "assistant", "content": answer}, {"role": "user", "content": "the other"}]
    second = model.prompt(said)
    differ = (a != b for a, b in zip(read.tokens, second, strict=False))
    common = next((i for i, other in enumerate(differ) if other), len(read.tokens))
    found = list(model.write(second, read=read, pace=pace, max_new_tokens=9))
    assert pace.prompt_tokens == len(second) - common < len(second) - len(first) + 12
    assert len(read.cache) == len(read.tokens)
    assert "".join(found) == "".join(model.write(second, max_new_tokens=9))


def test_asked_again_at_least_one_token_is_read(model):
    read, pace = model.nothing_read(), Pace()
    prompt = model.tokenizer.encode("the end of the")
    first = "".join(model.write(prompt, read=read, max_new_tokens=5))
    again = "".join(model.write(prompt, read=read, pace=pace, max_new_tokens=5))
    assert (again, pace.prompt_tokens) == (first, 1)


def test_a_seed_says_what_is_drawn_and_the_end_ends(model):
    prompt = model.tokenizer.encode("the")
    options = {"do_sample": True, "max_new_tokens": 20, "temperature": 1.5}
    texts = [
        "".join(model.write(prompt, generator=torch.Generator().manual_seed(s), **options))
        for s in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]
    stop = texts[0][3:5]
    stopped = model.write(
        prompt, stops=[stop], generator=torch.Generator().manual_seed(0), **options
    )
    assert "".join(stopped) == texts[0].partition(stop)[0]


def test_a_text_longer_than_the_context_is_refused(model):
    with pytest.raises(OrreryError, match="together at most 256"):
        list(model.write([5] * 250, max_new_tokens=7))


def test_generate_answers_and_tells_how_fast(path, capsys):
    assert guarded(["generate", "the", "--model", str(path), "--max-tokens", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tokens"] == 8
    assert told["text"]
    assert told["decode_tokens_per_second"] > 0
    assert told["peak_memory_bytes"] > 1e6
    assert guarded(["generate", "the", "--model", str(path), "--max-tokens", "8"]) == 0
    out, err = capsys.readouterr()
    assert out.rstrip("\n") == told["text"].rstrip("\n")
    assert "a second" in err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["generate", ""], "PROMPT must not be empty"),
        (["generate", "x", "--max-tokens", "0"], "--max-tokens must be at least 1, got 0"),
        (["generate", "x", "--temperature", "nan"], "--temperature must be at least 0, got nan"),
        (["generate", "x", "--top-p", "0"], "--top-p must be in (0, 1], got 0.0"),
        (["generate", "x", "--min-p", "2"], "--min-p must be in [0, 1], got 2.0"),
        (["chat", "--repetition-penalty", "0"], "--repetition-penalty must be above 0, got 0.0"),
        (["generate", "x", "--best-of", "0"], "--best-of must be at least 1, got 0"),
        (
            ["generate", "x", "--best-of", "2"],
            "--best-of draws answers: it needs --temperature above 0, and no --stop",
        ),
        (["generate", "x", "--top-k", "0"], "--top-k must be at least 1, got 0"),
        (["generate", "x", "--seed", "-1"], "--seed must be in [0, 2^63), got -1"),
        (["generate", "x", "--stop", ""], "--stop must not be empty"),
        (["generate", "x", "--model", "/nowhere.gguf"], "/nowhere.gguf is not a file"),
    ],
)
def test_bad_options_are_one_line(argv, line, capsys):
    assert guarded(argv) in (1, 2)
    assert capsys.readouterr().err.strip() == f"orrery: {line}"


def test_chat_over_a_pipe_with_commands(path, tmp_path, monkeypatch, capsys):
    saved = tmp_path / "talk.json"
    typed = f"the one\\\nand two\n/save {saved}\n/nothing\n/again\n/system the\n/save\n/quit\nno\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert guarded(["chat", "--model", str(path), "--max-tokens", "6"]) == 0
    out, err = capsys.readouterr()
    messages = json.loads(saved.read_text())["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"]
    assert messages[0]["content"] == "the one\nand two"
    assert messages[1]["content"] in out
    assert "no '/nothing' here" in err
    assert "no '/save' here" in err
    assert err.count("written at") == 1  # after /quit nothing is answered


def test_chat_for_machines_prints_an_object_an_answer(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("the\nand the\n"))
    assert guarded(["chat", "--model", str(path), "--max-tokens", "5", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["tokens"] for one in told] == [5, 5]


def test_ctrl_c_stops_the_answer_and_not_the_program(path, monkeypatch, capsys):
    written = LocalLlm.write

    def struck(self, prompt, **options):
        yield from list(written(self, prompt, **options))[:1]
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalLlm, "write", struck)
    monkeypatch.setattr("sys.stdin", io.StringIO("the\n/again\nthe\n"))
    assert guarded(["chat", "--model", str(path), "--max-tokens", "5"]) == 0
    assert capsys.readouterr().out.count("[stopped]") == 2


def test_the_best_of_several_answers_is_the_likeliest(model):
    prompt = model.tokenizer.encode("the end")
    options = {"do_sample": True, "max_new_tokens": 6, "temperature": 2.0}
    answers = []
    for seed in range(5, 9):
        generator = torch.Generator().manual_seed(seed)
        how, read = model.how(prompt, options), model.nothing_read()
        tokens = list(stream(model.model, read.cache, prompt, how, generator=generator))
        text, chances = list(prompt), []
        for token in tokens:
            scores = model.model(torch.tensor([text]), model.model.new_cache())[0]
            chances.append(scores.log_softmax(dim=-1)[token].item())
            text.append(token)
        words = model.tokenizer.decode(token for token in tokens if token != model.end)
        answers.append((sum(chances) / len(chances), words))
    assert len({words for _, words in answers}) > 1
    assert model.best_of(4, prompt, seed=5, **options) == max(answers)[1]
    with pytest.raises(ValueError, match="count must be at least 1"):
        model.best_of(0, prompt)


def test_generate_shows_the_likeliest_of_several(path, model, capsys):
    options = ["--max-tokens", "6", "--temperature", "2", "--seed", "5"]
    argv = ["generate", "the", "--plain", "--model", str(path), "--best-of", "4", *options]
    assert guarded([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    prompt = model.tokenizer.encode("the")
    drawn = {"do_sample": True, "max_new_tokens": 6, "temperature": 2.0}
    assert found["text"] == model.best_of(4, prompt, seed=5, **drawn)
    assert found["prompt_tokens"] == len(prompt) + 3  # read once, and the last token by each
    assert 4 <= found["tokens"] <= 24
