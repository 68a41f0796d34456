from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.autoregressive import surprise
from orrery.systems.language.ngram import Ngram, NgramConfig

VOCAB = 5


def text(length, seed, vocab=VOCAB):
    """A chain in which the next token depends on the last two, so that grams repeat."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(vocab, 0.4), size=(vocab, vocab))
    tokens = [0, 1]
    while len(tokens) < length:
        tokens.append(int(rng.choice(vocab, p=table[tokens[-2], tokens[-1]])))
    return np.array(tokens, dtype=np.int64)


def naive_chance(tokens, history, token, order):
    """Modified Kneser-Ney, written from the paper with dictionaries and recursion."""
    text_grams = lambda n: [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]  # noqa: E731

    def counts(n):
        if n == order:
            return Counter(text_grams(n))
        return Counter(gram[1:] for gram in set(text_grams(n + 1)))

    def discounts(n):
        kept = Counter(counts(n).values())
        n1, n2, n3, n4 = (kept[c] for c in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2) if n1 else 0.5
        if not (n1 and n2 and n3):
            return [0, y, y, y]
        return [0, *(max(0.1, c - (c + 1) * y * b / a) for c, a, b in
                     ((1, n1, n2), (2, n2, n3), (3, n3, n4)))]  # fmt: skip

    def chance(past, n):
        if n == 0:
            return 1 / VOCAB
        past = past[len(past) - (n - 1) :]
        table, off = counts(n), discounts(n)
        row = {w: table[(*past, w)] for w in range(VOCAB) if table[(*past, w)]}
        total = sum(row.values())
        if not total:
            return chance(past, n - 1)
        free = sum(min(off[min(c, 3)], c) for c in row.values())
        own = max(row.get(token, 0) - off[min(row.get(token, 0), 3)], 0)
        return own / total + free / total * chance(past, n - 1)

    return chance(tuple(history), min(order, len(history) + 1))


@settings(max_examples=12, deadline=None)
@given(order=st.integers(1, 4), length=st.integers(6, 60), seed=st.integers(0, 99))
@pytest.mark.parity
def test_it_is_the_paper_written_with_dictionaries(order, length, seed):
    training, held_out = text(length, seed), text(8, seed + 100)
    model = Ngram(NgramConfig(vocab=VOCAB, order=order), training)
    expected = [
        -np.log(naive_chance(training.tolist(), held_out[:i].tolist(), int(held_out[i]), order))
        for i in range(len(held_out))
    ]
    np.testing.assert_allclose(model.surprise(held_out), expected, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(order=st.integers(1, 5), length=st.integers(5, 300), seed=st.integers(0, 99))
def test_chances_add_up_to_one_and_none_is_zero(order, length, seed):
    model = Ngram(NgramConfig(vocab=VOCAB, order=order), text(length, seed))
    tokens = torch.from_numpy(np.stack([text(12, s) for s in (seed, seed + 1)]))
    chances = model.log_probabilities(tokens).exp()
    assert chances.shape == (2, 12, VOCAB)
    assert chances.min() > 0
    torch.testing.assert_close(chances.sum(dim=-1), torch.ones(2, 12, dtype=torch.float64))


def test_the_whole_distribution_and_the_single_chance_agree():
    model = Ngram(NgramConfig(vocab=VOCAB, order=4), text(400, 0))
    held_out = text(50, 1)
    single = torch.from_numpy(model.surprise(held_out)[1:])
    whole = surprise(model, torch.from_numpy(held_out)[None])[0]
    torch.testing.assert_close(whole, single)


def test_rows_know_nothing_of_one_another():
    model = Ngram(NgramConfig(vocab=VOCAB, order=4), text(400, 0))
    rows = np.stack([text(20, seed) for seed in (1, 2, 3)])
    apart = np.stack([model.surprise(row) for row in rows])
    np.testing.assert_array_equal(model.surprise(rows), apart)


def test_a_longer_history_predicts_better_until_it_is_long_enough():
    training, held_out = text(20_000, 0), text(20_000, 0)[10_000:]
    bits = [
        Ngram(NgramConfig(vocab=VOCAB, order=order), training[:10_000]).surprise(held_out).mean()
        for order in (1, 2, 3, 4)
    ]
    assert bits[0] > bits[1] > bits[2]
    assert bits[3] < bits[2] + 0.02  # nothing is left to find, and smoothing costs little


def test_it_counts_what_it_stores():
    # four different grams of one token and four of two; one empty history and four of one token
    tokens = np.array([0, 1, 2, 3, 0, 1], dtype=np.int64)
    assert Ngram(NgramConfig(vocab=VOCAB, order=2), tokens).parameters == 4 + 1 + 4 + 4


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([0, 1], "order=3 tokens: 2"), ([0, 1, 5], r"\[0, 5\): up to 5"), ([0, 1, -1], r"\[0, 5\)")],
)
def test_bad_texts_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        Ngram(NgramConfig(vocab=VOCAB, order=3), np.array(tokens, dtype=np.int64))


@pytest.mark.parametrize("bad", [{"order": 0}, {"vocab": 0}])
def test_bad_configs_are_refused(bad):
    with pytest.raises(ValueError, match="must be at least 1"):
        NgramConfig(**bad)
