import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import ENGLISH, MIXED, texts

from orrery.systems.language.tokenizer_json import object_of
from orrery.systems.language.unigram import (
    Unigram,
    UnigramConfig,
    UnigramVocabulary,
    all_arcs,
    cut,
    expected_counts,
    likelihood,
    train,
)

LINES = ENGLISH[:9_000].splitlines()
VOCABULARY = train(LINES, UnigramConfig(vocab=300))
KUDO = UnigramVocabulary(pieces=[
    ("<unk>", 0.0), ("h", -3.0), ("e", -3.1), ("l", -3.2), ("o", -3.3), ("he", -2.0),
    ("ll", -2.5), ("hell", -4.0), ("llo", -4.1), ("\u2581", -1.0), ("\u2581hello", -9.5),
])  # fmt: skip


def every_row(word, scores):
    """All ways to cut a word into pieces, and their log chances."""
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        ends = [i + 1 for i, here in enumerate(cuts) if here] + [len(word)]
        row = [word[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        if all(piece in scores for piece in row):
            yield row, sum(scores[piece] for piece in row)


@given(st.text("helo", min_size=1, max_size=9))
def test_the_best_row_is_the_likeliest_of_all(word):
    scores = dict(KUDO.pieces[1:])
    row, score = Unigram(KUDO).best(word)
    assert score == pytest.approx(max(s for _, s in every_row(word, scores)))
    assert "".join(row) == word


@settings(deadline=None)
@given(st.text("helo", min_size=1, max_size=8), st.integers(1, 5))
def test_expected_counts_are_means_over_all_rows(word, count):
    names, logs = zip(*KUDO.pieces[1:], strict=True)
    arcs = all_arcs({word: count}, {name: i for i, name in enumerate(names)}, 8)
    expected, total = expected_counts(arcs, np.array(logs))
    rows = list(every_row(word, dict(KUDO.pieces[1:])))
    chance = sum(math.exp(score) for _, score in rows)
    by_hand = Counter()
    for row, score in rows:
        for piece in row:
            by_hand[piece] += count * math.exp(score) / chance
    np.testing.assert_allclose(expected, [by_hand[name] for name in names], atol=1e-12)
    assert total == pytest.approx(count * math.log(chance))


def test_expectation_and_maximisation_make_the_words_likelier_every_time():
    words = Counter(word for line in LINES for word in Unigram(KUDO).words(line))
    pieces = sorted({w[i:j] for w in words for i in range(len(w)) for j in range(i + 1, i + 4)})
    arcs = all_arcs(words, {piece: i for i, piece in enumerate(pieces)}, 3)
    scores, totals = np.full(len(pieces), -math.log(len(pieces))), []
    for _ in range(6):
        counts, total = expected_counts(arcs, scores)
        totals.append(total)
        scores = np.log(np.maximum(counts, 1e-300) / counts.sum())
    assert totals[1] > totals[0] * 0.9
    assert all(b > a for a, b in itertools.pairwise(totals))


@pytest.mark.parity
@pytest.mark.parametrize(
    "change",
    [{}, {"prefix": "never"}, {"prefix": "first"}, {"form": "NFKC"}, {"specials": {"King": 300}}],
)
def test_it_is_the_unigram_of_tokenizers(change):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = UnigramVocabulary(pieces=VOCABULARY.pieces, **change)
    model = Unigram(vocabulary)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(object_of(vocabulary)))
    text = MIXED[:30_000] + MIXED[-3_000:]
    numbers = model.encode(text)
    assert numbers == theirs.encode(text).ids
    assert model.decode(numbers) == theirs.decode(numbers, skip_special_tokens=False)

    @settings(max_examples=60, deadline=None)
    @given(texts)
    def same(text):
        numbers = model.encode(text)
        assert numbers == theirs.encode(text).ids
        assert model.decode(numbers) == theirs.decode(numbers, skip_special_tokens=False)

    same()


@pytest.mark.parity
def test_what_is_learnt_is_as_likely_as_what_tokenizers_learns():
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer(tokenizers.models.Unigram())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=300, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    theirs.train_from_iterator(LINES, trainer)
    pieces = json.loads(theirs.to_str())["model"]["vocab"]
    other = Unigram(UnigramVocabulary(pieces=[(piece, score) for piece, score in pieces]))
    ours = likelihood(Unigram(VOCABULARY), LINES)
    assert ours > 1.02 * likelihood(other, LINES)  # both are below 0
    assert len(VOCABULARY.pieces) <= len(pieces)


def test_more_pieces_make_the_text_likelier_and_every_letter_is_kept():
    few = train(LINES, UnigramConfig(vocab=150))
    assert len(few.pieces) <= 150 < len(VOCABULARY.pieces) <= 300
    assert likelihood(Unigram(few), LINES) < likelihood(Unigram(VOCABULARY), LINES)
    letters = set("".join(LINES)) - {" "}
    assert letters <= {piece for piece, _ in few.pieces}


def test_what_no_piece_has_is_one_unknown_or_its_bytes():
    model = Unigram(KUDO)
    assert model.encode("xyz") == [9, 0]
    assert model.decode([9, 0]) == "<unk>"
    names = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    by_bytes = Unigram(UnigramVocabulary(pieces=[*KUDO.pieces, *names], byte_pieces=True))
    assert by_bytes.encode("é") == [9, 11 + 0xC3, 11 + 0xA9]


def test_text_is_cut_before_each_space():
    assert cut("\u2581a\u2581\u2581b") == ["\u2581a", "\u2581", "\u2581b"]
    assert cut("a\u2581b") == ["a", "\u2581b"]
    assert Unigram(KUDO).words("") == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 1}, "vocab 2"), ({"seed": 0}, "at least 1"), ({"longest": 0}, "at least 1"),
        ({"kept": 1.0}, r"kept must be in \(0, 1\), got 1.0"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        UnigramConfig(**bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"pieces": []}, "unknown must be in"), ({"unknown": 11}, "unknown must be in"),
        ({"pieces": [("a", math.inf)]}, "must be finite"),
    ],
)  # fmt: skip
def test_bad_vocabularies_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        UnigramVocabulary(**{"pieces": KUDO.pieces, **bad})


def test_a_number_that_is_no_piece_is_refused():
    with pytest.raises(ValueError, match="no piece 11"):
        Unigram(KUDO).decode([11])
