import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data.passages import Passages

WORKS = {
    "short": "never read",
    "b": "The cat, the DOG; o'er the hill! " * 3,
    "a": "rain rain sun " * 9,
}


def passages(vocab=5):
    return Passages.from_works(WORKS, longest=2, vocab=vocab)


def test_the_longest_works_are_told_in_their_most_frequent_words():
    found = passages()
    assert found.names == ("a", "b")
    assert found.vocabulary[:3] == ("rain", "sun", "the")
    assert set(found.vocabulary[3:]) < {"cat", "dog", "o'er", "hill"}
    assert found.texts[0].tolist() == [0, 0, 1] * 9
    assert "read" not in passages(99).vocabulary


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_passage_is_a_row_of_words_of_its_work(batch, words, seed):
    found = passages(7)
    bags, works = found.draw(batch, words, torch.Generator().manual_seed(seed))
    assert bags.shape == (batch, words)
    for bag, work in zip(bags.tolist(), works.tolist(), strict=True):
        assert str(bag)[1:-1] in str(found.texts[work].tolist())
    again, _ = found.draw(batch, words, torch.Generator().manual_seed(seed))
    assert again.tolist() == bags.tolist()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Passages.from_works(WORKS, longest=0, vocab=5)
    with pytest.raises(ValueError, match=r"words must be from 1 to \d+, got 99"):
        passages().draw(1, 99, torch.Generator())
