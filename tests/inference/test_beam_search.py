import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.inference.decoding import Decoding
from orrery.inference.generation import write

VOCAB, LENGTH = 4, 4


class Past:
    """A state that remembers whole texts."""

    def __init__(self, batch):
        self.tokens = torch.zeros(batch, 0, dtype=torch.long)

    def take(self, rows):
        self.tokens = self.tokens[rows]


def markov(seed):
    """A language whose next token depends on the last two."""
    generator = torch.Generator().manual_seed(seed)
    table = 2 * torch.randn(VOCAB, VOCAB, VOCAB, generator=generator)

    def step(fresh, state):
        state.tokens = torch.cat([state.tokens, fresh], dim=1)
        return table[state.tokens[:, -2], state.tokens[:, -1]]

    return step, table.log_softmax(dim=-1)


def log_probability(chances, text):
    return float(sum(chances[a, b, c] for a, b, c in zip(text, text[1:], text[2:], strict=False)))


def found(seed, beams, **options):
    step, chances = markov(seed)
    how = Decoding(max_new_tokens=LENGTH, num_beams=beams, **options)
    text = write(step, Past(1), torch.tensor([[0, 1]]), how)[0].tolist()
    return text, log_probability(chances, text)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_many_beams_find_the_likeliest_text_of_all(seed):
    _, chances = markov(seed)
    texts = ([0, 1, *rest] for rest in itertools.product(range(VOCAB), repeat=LENGTH))
    best = max(texts, key=lambda text: log_probability(chances, text))
    assert found(seed, VOCAB ** (LENGTH - 1))[0] == best


def test_more_beams_find_likelier_texts_on_average():
    means = [sum(found(seed, n)[1] for seed in range(60)) / 60 for n in (1, 2, 4, 16)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 0.05


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_two_beams_by_hand(seed):
    _, chances = markov(seed)
    open_ = [[0, 1]]
    for _ in range(LENGTH):
        longer = [[*text, token] for text in open_ for token in range(VOCAB)]
        open_ = sorted(longer, key=lambda text: -log_probability(chances, text))[:2]
    assert found(seed, 2)[0] == open_[0]


def test_the_penalty_on_length_decides_between_short_and_long():
    lengths = [
        sum(len(found(seed, 4, eos_token_id=2, length_penalty=p, early_stopping="never")[0])
            for seed in range(30))
        for p in (-2.0, 0.0, 3.0)
    ]  # fmt: skip
    assert lengths[0] < lengths[1] < lengths[2]


def test_a_search_stops_once_enough_texts_have_ended():
    calls = []
    step, _ = markov(3)

    def counted(fresh, state):
        calls.append(1)
        return step(fresh, state)

    for early in (True, "never"):
        calls.append(0)
        how = Decoding(max_new_tokens=30, num_beams=2, eos_token_id=[2, 3], early_stopping=early,
                       length_penalty=2.0)  # fmt: skip
        write(counted, Past(1), torch.tensor([[0, 1]]), how)
    assert calls.index(0, 1) < len(calls) - calls.index(0, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_the_best_come_back_in_order(count):
    step, chances = markov(5)
    how = Decoding(max_new_tokens=LENGTH, num_beams=3, num_return_sequences=count)
    texts = write(step, Past(2), torch.tensor([[0, 1], [1, 0]]), how)
    assert texts.shape == (2 * count, 2 + LENGTH)
    for rows in texts.split(count):
        scores = [log_probability(chances, row) for row in rows.tolist()]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(row) for row in rows.tolist()}) == count
