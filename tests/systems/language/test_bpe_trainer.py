import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import CODE, MIXED, texts

from orrery.systems.language import bpe
from orrery.systems.language.bpe import GPT2, PATTERNS, BpeConfig
from orrery.systems.language.bpe_trainer import (
    count_texts,
    empty_index,
    number_of,
    train,
    with_room,
)
from orrery.systems.language.tokenizer_json import object_of

FEW = st.lists(st.text("ab c", max_size=40), max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(FEW, st.lists(texts, max_size=3)), st.integers(0, 40), st.integers(1, 3),
    st.sampled_from([GPT2, PATTERNS["o200k"]]), st.sampled_from([(), ("<s>", "<e>")]),
)  # fmt: skip
def test_it_is_the_plain_form(read, merges, least, pattern, specials):
    config = BpeConfig(vocab=258 + merges, least=least, pattern=pattern, specials=specials)
    assert train(read, config) == bpe.train(read, config)


def test_it_is_the_plain_form_on_code():
    config = BpeConfig(vocab=330)
    assert train([CODE], config) == bpe.train([CODE], config)


@pytest.mark.parity
@pytest.mark.parametrize("least", [1, 3])
def test_the_merges_are_those_of_tokenizers_ties_included(least):
    tokenizers = pytest.importorskip("tokenizers")
    lines = MIXED.splitlines(keepends=True)
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    theirs.pre_tokenizer = byte_level(add_prefix_space=False)
    theirs.train_from_iterator(
        lines,
        tokenizers.trainers.BpeTrainer(
            vocab_size=4_000, min_frequency=least, special_tokens=["<s>"], show_progress=False,
            initial_alphabet=byte_level.alphabet(),
        ),
    )  # fmt: skip
    expected = json.loads(theirs.to_str())["model"]
    found = object_of(train(lines, BpeConfig(vocab=4_000, least=least, specials=("<s>",))))["model"]
    assert len(expected["merges"]) > (3_000 if least == 1 else 1_000)
    assert found["merges"] == expected["merges"]
    assert found["vocab"] | {"<s>": 0} == expected["vocab"]


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, max_size=4))
def test_words_are_counted(read):
    counts = count_texts(read, GPT2)
    assert sum(len(word) * n for word, n in counts.items()) == sum(len(t.encode()) for t in read)
    other = GPT2 + "|(?!)"  # the same pattern, but none that has a scanner
    assert counts == count_texts(read, other)


def test_pairs_keep_their_numbers_while_the_index_grows():
    index, random = empty_index(), np.random.default_rng(0)
    pairs = [(int(a), int(b)) for a, b in random.integers(0, 2**31 - 1, (60_000, 2))]
    for expected, (left, right) in enumerate(pairs):
        index = with_room(index, 1)
        assert number_of(index, left, right) == expected
        index.counts[expected] = expected
    for expected, (left, right) in enumerate(pairs[::97]):
        assert number_of(index, left, right) == 97 * expected
        assert index.counts[97 * expected] == 97 * expected
    assert index.size[0] == len(pairs)
    assert len(index.slots) >= 2 * len(pairs)


def test_no_text_leaves_the_bytes():
    assert len(train([], BpeConfig()).tokens) == 256
