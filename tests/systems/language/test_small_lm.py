import gzip
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import CODE, LONG_CODE, PROSE

from orrery.errors import OrreryError
from orrery.metrics.compression import bits
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.gpt import Gpt
from orrery.systems.language.small_lm import (
    SmallLmConfig,
    Stages,
    bits_per_byte,
    clean,
    cost,
    documents_of,
    model_card,
    ngram_bits_per_byte,
    prepare,
)

TINY = SmallLmConfig(vocab=300, context=8, depth=1, heads=2, width=16, document=300)


def test_a_stage_is_made_once_and_again_only_if_its_inputs_or_its_file_change(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return f"content {len(calls)}"

    for _ in range(2):
        assert Stages(tmp_path / "new").made("a.txt", {"x": 1}, make) == b"content 1"
    assert Stages(tmp_path / "new").made("a.txt", {"x": 2}, make) == b"content 2"
    (tmp_path / "new" / "a.txt").write_text("content")  # cut short
    assert Stages(tmp_path / "new").made("a.txt", {"x": 2}, make) == b"content 3"
    (tmp_path / "new" / "a.txt").unlink()
    assert Stages(tmp_path / "new").made("a.txt", {"x": 2}, make) == b"content 4"


def test_a_stage_that_fails_leaves_the_others_as_they_were(tmp_path):
    def broken():
        raise OSError("no")

    stages = Stages(tmp_path / "new")
    stages.made("a.txt", 1, lambda: "a")
    with pytest.raises(OSError, match="no"):
        stages.made("b.txt", 1, broken)
    assert sorted(path.name for path in stages.folder.iterdir()) == ["a.txt", "stages.json"]
    assert Stages(tmp_path / "new").made("a.txt", 1, broken) == b"a"


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OrreryError, match="holds other files"):
        Stages(tmp_path)


@settings(deadline=None)
@given(st.text("ab\n", max_size=60), st.integers(1, 20))
def test_documents_are_the_text_cut_between_lines(text, size):
    documents = documents_of(text, size)
    assert "".join(documents) == text
    assert all(len(d) >= size and d.endswith("\n") for d in documents[:-1])


def test_near_copies_and_leaks_do_not_get_into_training():
    pages = documents_of(PROSE, 300)
    parts = clean([*pages, pages[3].upper(), pages[5] + "\n"], TINY)
    assert parts["duplicates"] == [pages[3].upper(), pages[5] + "\n"]
    leak = " ".join([*CODE[:400].split(), *pages[8].split()[5:25]])
    again = clean([leak, *pages], TINY)  # the tenth document is held out: now it is pages[8]
    assert leak in again["leaks"]
    assert leak not in again["training"]
    assert not set(again["training"]) & set(again["held out"])
    with pytest.raises(OrreryError, match="2 documents are too few"):
        clean(["one", "two"], TINY)


def test_bits_a_byte_are_those_of_every_token_given_its_past():
    prepared = prepare(PROSE, TINY)
    torch.manual_seed(0)
    model = Gpt(TINY.gpt(300)).double()
    tokens = prepared.held_out[:50]
    size = len(FastBpe(prepared.vocabulary).decode(tokens.tolist()).encode())
    by_hand = 0.0
    with torch.no_grad():
        for place in range(1, 50):
            half = (place - 1) // 4 * 4  # windows go on by half of the context
            past = tokens[max(0, half - 4) : place]
            by_hand -= float(model.log_probabilities(past[None])[0, -1, tokens[place]])
    assert bits_per_byte(model, tokens, size) == pytest.approx(bits(by_hand) / size, rel=1e-6)


def test_n_grams_of_the_text_beat_gzip_and_more_of_it_is_better():
    prepared = prepare(LONG_CODE, TINY)
    held_out = FastBpe(prepared.vocabulary).decode(prepared.held_out.tolist()).encode()
    assert len(held_out) == prepared.held_out_bytes
    few, all_of_it = (ngram_bits_per_byte(prepared, 3, n) for n in (2_000, 10**9))
    assert all_of_it < few
    assert all_of_it < 8 * len(gzip.compress(held_out)) / len(held_out)
    assert prepared.documents["training"] > 5 * prepared.documents["held out"]


def test_a_billion_parameters_cost_what_the_rule_says():
    large = cost()
    assert large.operations == 6 * 1e9 * 20e9
    assert large.device_hours == pytest.approx(1.2e20 / (989e12 * 0.4) / 3600)
    assert cost(2e9).operations == 4 * large.operations  # tokens grow along
    assert cost(1e9, 40e9).dollars == pytest.approx(2 * large.dollars)


def test_the_card_tells_what_was_read_and_what_was_measured():
    prepared = prepare(PROSE, TINY)
    card = model_card(TINY, prepared, {"bits a byte": 2.3456}, "one\ntwo")
    assert "| bits a byte | 2.346 |" in card
    assert "> one\n> two" in card
    assert f"{prepared.held_out_bytes:,} bytes" in card
    assert f"{math.ceil(cost().device_hours):,} hours" in card


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 100}, "vocab must be at least 256"), ({"order": 0}, "order must be at least 1"),
        ({"seed": -1}, "seed must be in"),
        ({"document": 0}, "document must be at least 1"), ({"heads": 3}, "multiple of heads=3"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SmallLmConfig(**bad)
