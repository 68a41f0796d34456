"""`orrery.systems.language.local_llm` with a grammar, and `orrery generate` with it."""

import json
import re

import jsonschema
import pytest
import torch
from tests.inference.tiny_gguf import tiny_llama, write_gguf

from orrery.cli.main import guarded
from orrery.inference.batching import Batch
from orrery.inference.decoding import Decoding
from orrery.inference.grammars.grammar import matching
from orrery.inference.grammars.json_grammar import grammar
from orrery.inference.streaming import Pace, stream
from orrery.systems.language.local_llm import LocalLlm

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "tags": {"type": "array", "items": {"enum": ["the", "th", 3]}, "maxItems": 3},
        "age": {"type": "integer", "minimum": 7},
    },
    "required": ["name", "tags", "age"],
    "additionalProperties": False,
}
FEWEST = len('{"name":"","tags":[],"age":7}')  # the small model has a token a byte, but for "the"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("llm") / "tiny.gguf", tiny_llama(4), "Q4_1")


@pytest.fixture(scope="module")
def model(path):
    return LocalLlm(path)


@pytest.mark.parametrize("most", [FEWEST, FEWEST + 1, 40, 90])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_an_answer_fits_its_schema_however_few_tokens_are_left(model, most, seed):
    options = {} if seed is None else {"do_sample": True, "temperature": 3.0, "top_p": 0.95}
    generator = torch.Generator().manual_seed(seed or 0)
    prompt, pace = model.tokenizer.encode("the"), Pace()
    answer = "".join(
        model.write(
            prompt,
            grammar=grammar(SCHEMA),
            max_new_tokens=most,
            generator=generator,
            pace=pace,
            repetition_penalty=1.3,
            **options,
        )
    )
    jsonschema.validate(json.loads(answer), SCHEMA)
    assert pace.finish == "end"
    assert pace.tokens <= most


def test_without_a_grammar_the_same_model_writes_no_json(model):
    pace = Pace()
    answer = "".join(model.write([5], max_new_tokens=40, pace=pace))
    with pytest.raises(ValueError, match=r"Expecting|Extra data"):
        json.loads(answer)
    assert pace.finish == "length"


def test_an_answer_that_is_complete_ends(model):
    pace = Pace()
    answer = "".join(model.write([5], grammar=matching("the(th)?"), max_new_tokens=40, pace=pace))
    assert answer in ("the", "theth")
    assert pace.finish == "end"
    assert pace.tokens <= 6


def test_texts_in_a_batch_keep_their_own_constraints(model):
    grammars = [matching("[a-f]{9}x"), None, grammar(SCHEMA), matching("[a-f]{9}x")]
    batch, found, how = Batch(model.model), {}, Decoding(eos_token_id=model.end, max_new_tokens=45)
    for each in grammars:
        number = batch.add([5, 6], how, constraint=model.constraint(each, 45))
        found[number] = []
    for one in batch.run():
        found[one.text].append(one.token)
    for tokens, each in zip(found.values(), grammars, strict=True):
        cache, constraint = model.model.new_cache(), model.constraint(each, 45)
        alone = stream(model.model, cache, [5, 6], how, constraint=constraint)
        assert tokens == list(alone)
        text = model.tokenizer.decode(token for token in tokens if token != model.end)
        assert each is None or each.accepts(text.encode())


def test_the_best_of_several_fits_too(model):
    pace, options = Pace(), {"do_sample": True, "temperature": 2.0, "max_new_tokens": 60}
    answer = model.best_of(3, [5, 6], grammar=grammar(SCHEMA), pace=pace, **options)
    jsonschema.validate(json.loads(answer), SCHEMA)
    assert pace.finish == "end"


def test_masks_are_kept_for_the_latest_grammars(model):
    first = matching("a+")
    kept = model.constraint(first, 9).masks
    assert model.constraint(first, 5).masks is kept
    for size in range(1, 9):
        model.constraint(matching(f"a{{{size}}}"), 9)
    assert model.constraint(first, 9).masks is not kept


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"max_new_tokens": FEWEST - 3}, "a text that fits takes at least"),
        ({"max_new_tokens": 60, "stops": ["x"]}, "stops must be empty with a grammar"),
        ({"max_new_tokens": 60, "min_new_tokens": 2}, "a constraint needs num_beams=1"),
        ({"max_new_tokens": 60, "forced_eos_token_id": 2}, "and no forced token"),
    ],
)
def test_what_cannot_be_kept_is_refused(model, options, line):
    with pytest.raises(ValueError, match=line):
        list(model.write([5], grammar=grammar(SCHEMA), **options))


def test_generate_with_a_schema_or_a_pattern(path, tmp_path, capsys):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    argv = ["generate", "the", "--model", str(path), "--max-tokens", "60", "--json"]
    assert guarded([*argv, "--schema", str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(json.loads(told["text"]), SCHEMA)
    assert told["finish_reason"] == "end"
    drawn = ["--temperature", "2", "--best-of", "2"]
    for more in ([], drawn):
        assert guarded([*argv, "--regex", "(yes|no), [a-z ]{3,9}[.]", *more]) == 0
        told = json.loads(capsys.readouterr().out)
        assert re.fullmatch("(yes|no), [a-z ]{3,9}[.]", told["text"])


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["--regex", "("],
            "--regex: a ( without its ) at character 1 of pattern '(' is not supported",
        ),
        (["--regex", "a$b"], "--regex: no text fits"),
        (["--regex", "a", "--schema", "x"], "--schema and --regex exclude one another"),
        (["--regex", "a", "--stop", "b"], "--stop would cut what --schema or --regex asks for"),
        (["--schema", "/nowhere.json"], "--schema /nowhere.json: No such file or directory"),
        (["--schema", "/"], "--schema /: Is a directory"),
        (
            ["--regex", "a{50}", "--max-tokens", "9"],
            "a text that fits takes at least 50 tokens, and 9 are allowed",
        ),
    ],
)
def test_bad_options_are_one_line(path, argv, line, capsys):
    assert guarded(["generate", "x", "--model", str(path), *argv]) == 2
    assert capsys.readouterr().err.strip().removeprefix(f"reading {path}\n") == f"orrery: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"not": {}}', "schema at #: keyword 'not' is not supported"),
        ("{", "the schema is no JSON: Expecting property name"),
        ("[" * 99_999, "is nested too deeply"),
        ("1" * 1_000_001, "it has more than 1000000 characters"),
        ("\xff", "codec can't decode"),
    ],
)
def test_bad_schemas_are_one_line(path, text, line, tmp_path, capsys):
    file = tmp_path / "schema.json"
    file.write_text(text, encoding="latin-1")
    assert guarded(["generate", "x", "--model", str(path), "--schema", str(file)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"orrery: --schema {file}: ")
    assert line in told
    assert told.count("\n") == 1
