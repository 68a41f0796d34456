"""Batches: pure functions of a generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data.batches import sample_batch, sample_windows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 60), st.integers(1, 9), st.integers(0, 99), st.data())
@settings(max_examples=50, deadline=None)
def test_windows_are_slices_and_targets_are_the_next_tokens(count, batch, seed, data):
    block = data.draw(st.integers(1, count - 1))
    tokens = torch.randint(10, (count,), generator=generator(seed))
    inputs, targets = sample_windows(tokens, block, batch, generator(seed))
    starts = sample_batch(count - block, batch, generator(seed)).tolist()
    assert inputs.tolist() == [tokens[s : s + block].tolist() for s in starts]
    assert targets.tolist() == [tokens[s + 1 : s + block + 1].tolist() for s in starts]


def test_every_window_can_come_and_none_beyond_the_end():
    inputs, targets = sample_windows(torch.arange(10), 7, 200, generator())
    assert set(inputs[:, 0].tolist()) == {0, 1, 2}
    assert targets.max() == 9


def test_places_are_even_and_repeat_with_the_generator():
    places = sample_batch(5, 5_000, generator(3))
    torch.testing.assert_close(places, sample_batch(5, 5_000, generator(3)))
    share = torch.bincount(places) / 5_000
    assert (share - 0.2).abs().max() < 0.03


@pytest.mark.parametrize(("block", "batch"), [(0, 1), (10, 1), (11, 1), (3, 0)])
def test_sizes_that_cannot_be_are_refused(block, batch):
    with pytest.raises(ValueError, match="must be"):
        sample_windows(torch.arange(10), block, batch, generator())
