import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import MIXED

from orrery.errors import OrreryError
from orrery.systems.language import unigram, wordpiece
from orrery.systems.language.bpe import CL100K, BpeConfig
from orrery.systems.language.bpe_trainer import train
from orrery.systems.language.tokenizer_json import (
    BYTES,
    LETTERS,
    bytes_of,
    letters_of,
    object_of,
    read_tokenizer,
    vocabulary_of,
    write_tokenizer,
)

LINES = MIXED[:6_000].splitlines(keepends=True)
SAMPLES = {
    "gpt2": train(LINES, BpeConfig(vocab=300, specials=("<s>", "</s>"))),
    "cl100k": train(LINES, BpeConfig(vocab=280, pattern=CL100K)),
    "wordpiece": wordpiece.train(LINES, wordpiece.WordPieceConfig(vocab=300)),
    "cased": wordpiece.train(LINES, wordpiece.WordPieceConfig(
        vocab=300, basic=wordpiece.BasicTokenizer(lowercase=False, accents=True))),
    "unigram": unigram.train(LINES, unigram.UnigramConfig(vocab=200)),
    "nfkc": unigram.UnigramVocabulary(
        pieces=[("<unk>", 0.0), ("a", -1.5)], form="NFKC", prefix="first", byte_pieces=True,
        specials={"<s>": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_is_read(name, tmp_path):
    write_tokenizer(tmp_path / "tokenizer.json", SAMPLES[name])
    found = read_tokenizer(tmp_path / "tokenizer.json")
    if name == "unigram":
        assert found.specials == {}
        found = unigram.UnigramVocabulary(pieces=found.pieces)
    assert found == SAMPLES[name]


@pytest.mark.parity
@pytest.mark.parametrize("name", SAMPLES)
def test_the_library_reads_what_is_written_and_writes_what_is_read(name, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(json.dumps(object_of(SAMPLES[name])))
    theirs.save(str(tmp_path / "theirs.json"))
    found = object_of(read_tokenizer(tmp_path / "theirs.json"))
    expected = object_of(SAMPLES[name])
    if found["model"]["type"] == "Unigram":  # the library's reader rounds the last bit otherwise
        ours, scores = (dict(map(tuple, o["model"].pop("vocab"))) for o in (expected, found))
        assert scores == pytest.approx(ours, rel=1e-14)
    assert found == expected


def test_every_byte_has_a_letter_that_prints():
    assert bytes_of(letters_of(bytes(range(256)))) == bytes(range(256))
    assert letters_of(b"a b\n") == "a\u0120b\u010a"
    assert all(letter.isprintable() for letter in LETTERS.values())
    assert len(BYTES) == 256
    with pytest.raises(OrreryError, match="not made of bytes"):
        bytes_of("中")


BROKEN = [
    ("gpt2", ("model",), None, "model is missing"),
    ("gpt2", ("model", "type"), "WordLevel", "model 'WordLevel' is not read"),
    ("gpt2", ("model", "vocab"), [], "vocab is missing or of a wrong type: list"),
    ("gpt2", ("model", "merges"), [["a", "b", "c"]], "is not of two tokens"),
    ("gpt2", ("model", "merges"), ["qqq zzz"], "is not of two tokens"),
    ("gpt2", ("model", "merges"), [7], "merge 7 is not of two tokens"),
    ("gpt2", ("model", "vocab", "a"), -1, "number of 'a' must be a whole number"),
    ("gpt2", ("model", "vocab", "a"), "1", "number of 'a' must be a whole number"),
    ("gpt2", ("model", "vocab"), {"a": 0}, "is not of two tokens"),
    ("gpt2", ("model", "byte_fallback"), True, "byte_fallback is not read"),
    ("gpt2", ("normalizer",), {"type": "NFC"}, "BPE with a normalizer"),
    ("gpt2", ("pre_tokenizer",), None, "must be ByteLevel"),
    ("gpt2", ("pre_tokenizer", "use_regex"), False, "one Split is read"),
    ("gpt2", ("added_tokens",), [{"id": 0}], "content is missing"),
    ("gpt2", ("added_tokens",), [{"id": 0, "content": "x", "lstrip": True}], "surroundings"),
    ("gpt2", ("added_tokens",), [{"id": 1.5, "content": "x"}], "id of 'x' must be a whole"),
    ("cl100k", ("pre_tokenizer", "pretokenizers"), [], "must be ByteLevel"),
    ("wordpiece", ("normalizer",), {"type": "NFC"}, "normalizer must be BertNormalizer"),
    ("wordpiece", ("pre_tokenizer",), None, "pre_tokenizer is missing"),
    ("wordpiece", ("model", "unk_token"), "none", "pieces must have 'none'"),
    ("wordpiece", ("model", "continuing_subword_prefix"), "@", "must have ##"),
    ("unigram", ("model", "vocab"), [["a"]], "is not a string and a score"),
    ("unigram", ("model", "vocab"), [["a", None]], "a score is missing or of a wrong type"),
    ("unigram", ("model", "unk_id"), None, "unk_id must be a whole number"),
    ("unigram", ("model", "unk_id"), 10_000, "unknown must be in"),
    ("unigram", ("normalizer",), {"type": "Precompiled"}, "'Precompiled' of Unigram is not read"),
    ("unigram", ("pre_tokenizer", "prepend_scheme"), "last", "prepend_scheme must be"),
    ("unigram", ("pre_tokenizer", "replacement"), "_", "must cut before"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value", "message"), BROKEN)
def test_what_is_malformed_or_unknown_is_refused_with_one_line(
    name, place, value, message, tmp_path
):
    whole = object_of(SAMPLES[name])
    node = whole
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    (tmp_path / "bad.json").write_text(json.dumps(whole))
    with pytest.raises(OrreryError, match=message) as caught:
        read_tokenizer(tmp_path / "bad.json")
    assert "\n" not in str(caught.value)
    assert "bad.json" in str(caught.value)


def test_a_file_that_is_no_object_is_refused(tmp_path):
    for text in ("", "[1]", "nul", '{"model": '):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(OrreryError, match=r"bad\.json"):
            read_tokenizer(tmp_path / "bad.json")
    with pytest.raises(OrreryError, match="cannot read"):
        read_tokenizer(tmp_path / "none.json")


def test_a_pattern_that_the_library_reads_otherwise_is_not_written(tmp_path):
    for pattern in (r"\p{N}{1,3}+|\P{N}", r"\s+$|\S+| "):
        vocabulary = train(LINES, BpeConfig(vocab=260, pattern=pattern))
        with pytest.raises(OrreryError, match="the library reads"):
            write_tokenizer(tmp_path / "tokenizer.json", vocabulary)
    assert not list(tmp_path.iterdir())


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]),
    st.just({}), st.floats(allow_nan=False), st.just({"type": "ByteLevel"}),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_no_value_anywhere_makes_it_fail_in_another_way(name, data):
    whole = object_of(SAMPLES[name])
    node = whole
    while True:
        key = data.draw(
            st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node)))
        )
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            node[key] = data.draw(VALUES)
            break
        node = inner
    with contextlib.suppress(OrreryError, ValueError):
        vocabulary_of(whole)
