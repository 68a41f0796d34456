import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import MIXED as TEXT
from tests.mixed_text import texts

from orrery.systems.language.bpe import PATTERNS, Bpe, BpeConfig, BpeVocabulary
from orrery.systems.language.bpe_fast import LONG, FastBpe, look_up, table
from orrery.systems.language.bpe_trainer import train
from orrery.systems.language.tokenizer_json import object_of

MIXED = TEXT + "2004 20041 12345 123456789 1234567890"
LINES = [*MIXED[:120_000].splitlines(keepends=True), "2004 20041 12345 \n" * 99]
VOCABULARIES = {
    name: train(LINES, BpeConfig(vocab=1_500, pattern=pattern))
    for name, pattern in PATTERNS.items()
}
FAST = {name: FastBpe(vocabulary) for name, vocabulary in VOCABULARIES.items()}
PLAIN = {name: Bpe(vocabulary) for name, vocabulary in VOCABULARIES.items()}


@settings(max_examples=150, deadline=None)
@given(texts, st.sampled_from(sorted(PATTERNS)))
def test_it_is_the_plain_form(text, name):
    numbers = FAST[name].encode(text)
    assert numbers == PLAIN[name].encode(text)
    assert FAST[name].decode(numbers) == text


@pytest.mark.parity
@pytest.mark.parametrize("name", PATTERNS)
def test_it_is_the_bpe_of_tokenizers(name):
    tokenizers = pytest.importorskip("tokenizers")
    fast = FAST[name]
    theirs = tokenizers.Tokenizer.from_str(json.dumps(object_of(VOCABULARIES[name])))
    numbers = fast.encode(MIXED)
    assert numbers == theirs.encode(MIXED).ids
    assert fast.decode(numbers) == theirs.decode(numbers) == MIXED

    @settings(max_examples=150, deadline=None)
    @given(texts)
    def same(text):
        numbers = fast.encode(text)
        assert numbers == theirs.encode(text).ids
        assert fast.decode(numbers[1:]) == theirs.decode(numbers[1:])  # may begin amid a character

    same()


@pytest.mark.parity
@pytest.mark.parametrize("name", PATTERNS)
def test_it_is_the_bpe_of_tiktoken(name):
    tiktoken = pytest.importorskip("tiktoken")
    vocabulary = VOCABULARIES[name]
    theirs = tiktoken.Encoding(
        name, pat_str=PATTERNS[name], special_tokens={},
        mergeable_ranks={token: number for number, token in vocabulary.tokens.items()},
    )  # fmt: skip
    assert FastBpe(vocabulary).encode(MIXED) == theirs.encode_ordinary(MIXED)


@settings(max_examples=20, deadline=None)
@given(st.text("ab", min_size=LONG - 2, max_size=3 * LONG), st.integers(0, 40))
def test_long_words_and_short_ones_are_merged_alike(word, merges):
    vocabulary = train([word, "abba" * 9, "b" * 33], BpeConfig(vocab=256 + merges))
    assert FastBpe(vocabulary).encode(word) == Bpe(vocabulary).encode(word)


def test_a_word_that_is_a_token_is_taken_whole_where_that_is_asked_for():
    tokens = {i: bytes([i]) for i in range(256)} | {256: b" abc", 257: b"\xe4\xb8"}
    vocabulary = BpeVocabulary(tokens=tokens, merges=[], whole_words=True)
    assert FastBpe(vocabulary).encode("abc abc") == [97, 98, 99, 256]


def test_a_batch_is_its_texts_whatever_the_threads():
    fast = FastBpe(VOCABULARIES["gpt2"])
    parts = [MIXED[i : i + 997] for i in range(0, 40_000, 997)] + ["", " "]
    expected = [fast.encode(part) for part in parts]
    for threads in (1, 2, 3, 100):
        assert fast.encode_batch(parts, threads=threads) == expected
    assert fast.encode_batch([]) == []
    assert fast.encode_array(parts[0]).tolist() == expected[0]


def test_special_tokens():
    vocabulary = train(["ab ab"], BpeConfig(vocab=260, specials=("<a>", "<b>")))
    fast, plain = FastBpe(vocabulary), Bpe(vocabulary)
    text = "<a>ab<b><b> ab<a"
    assert fast.encode(text) == plain.encode(text)
    assert fast.decode(fast.encode(text)) == text


@pytest.mark.parametrize("bad", [[-1], [99_999], [0, 1, 1_500]])
def test_numbers_that_are_no_token_are_refused(bad):
    with pytest.raises(ValueError, match=f"no token {bad[-1]}"):
        FastBpe(VOCABULARIES["gpt2"]).decode(bad)


def test_the_table_holds_every_merge_and_nothing_else():
    vocabulary = VOCABULARIES["cl100k"]
    pairs, merges = table(vocabulary), {m[:2] for m in vocabulary.merges}
    for rank, (left, right, whole) in enumerate(vocabulary.merges):
        assert look_up(pairs, left, right) == (rank, whole)
        if (right, left) not in merges:
            assert look_up(pairs, right, left)[1] == -1
