from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.language.text_noise import (
    corrupt_spans,
    drop,
    hide,
    infill,
    parts,
    permute_sentences,
    rotate,
)

SENTINEL, MASK, STOP = 999, -1, 7
TEXTS = st.lists(st.integers(0, 99), min_size=2, max_size=40)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def together(source, target):
    """The text again: each sentinel of the source replaced by what follows it in the target."""
    stretches, current = {}, None
    for token in target:
        if token > 900:
            current = stretches.setdefault(token, [])
        else:
            current.append(token)
    return [t for token in source for t in stretches.get(token, [token])]


@given(tokens=TEXTS, seed=st.integers(0, 999), rate=st.sampled_from([0.05, 0.15, 0.5, 0.9]))
def test_what_was_cut_out_put_back_is_the_text(tokens, seed, rate):
    source, target = corrupt_spans(tokens, rng(seed), sentinel=SENTINEL, rate=rate)
    assert together(source, target) == tokens
    sentinels = [t for t in source if t > 900]
    assert sentinels == [t for t in target if t > 900]
    assert sentinels == [SENTINEL - i for i in range(len(sentinels))]
    assert all(a <= 900 or b <= 900 for a, b in pairwise(source))


def test_the_share_and_the_length_of_what_is_cut_out_are_those_asked_for():
    source, target = corrupt_spans(list(range(800)), rng(), sentinel=SENTINEL)
    count = sum(t > 900 for t in source)
    assert len(target) - count == 120
    assert count == 40


@given(total=st.integers(1, 30), count=st.integers(1, 30), seed=st.integers(0, 99))
def test_parts_are_as_many_and_none_is_empty(total, count, seed):
    found = parts(total, min(count, total), rng(seed))
    assert (sum(found), len(found), min(found) > 0) == (total, min(count, total), True)


@given(tokens=TEXTS, seed=st.integers(0, 999), rate=st.sampled_from([0.0, 0.1, 0.3, 0.7]))
def test_infilling_hides_exactly_its_share_and_keeps_the_order(tokens, seed, rate):
    found = infill(tokens, rng(seed), mask=MASK, rate=rate)
    kept = [t for t in found if t != MASK]
    assert len(kept) == len(tokens) - round(rate * len(tokens))
    rest = iter(tokens)
    assert all(token in rest for token in kept)  # in their order
    assert all(a != MASK or b != MASK for a, b in pairwise(found))


def test_a_mask_of_infilling_stands_for_none_or_many():
    lengths = []
    for seed in range(60):
        found = infill(list(range(100)), rng(seed), mask=MASK)
        for before, here, after in zip([-1, *found], found, [*found[1:], 100], strict=False):
            lengths += [after - before - 1] * (here == MASK)
    assert min(lengths) == 0
    assert max(lengths) >= 5
    masks = [infill(list(range(100)), rng(seed), mask=MASK).count(MASK) for seed in range(60)]
    assert 9 < sum(masks) / len(masks) < 12.5  # thirty tokens, three a mask


def test_masking_and_deletion_take_their_share():
    tokens = list(range(4_000))
    hidden = hide(tokens, rng(), mask=MASK, rate=0.25)
    assert len(hidden) == 4_000
    assert hidden.count(MASK) == pytest.approx(1_000, abs=120)
    assert all(a in (b, MASK) for a, b in zip(hidden, tokens, strict=True))
    left = drop(tokens, rng(), rate=0.25)
    assert left == sorted(left)
    assert len(left) == pytest.approx(3_000, abs=120)


@given(tokens=TEXTS, seed=st.integers(0, 99))
def test_sentences_change_places_and_stay_whole(tokens, seed):
    found = permute_sentences(tokens, rng(seed), stop=STOP)
    assert sorted(found) == sorted(tokens)
    whole = [*tokens, STOP] if tokens[-1] != STOP else tokens

    def sentences(text):
        cut = [i for i, token in enumerate(text) if token == STOP]
        return sorted(tuple(text[a + 1 : b + 1]) for a, b in zip([-1, *cut], cut, strict=False))

    if tokens[-1] == STOP:
        assert sentences(found) == sentences(whole)


@given(tokens=TEXTS, seed=st.integers(0, 99))
def test_rotation_keeps_the_circle(tokens, seed):
    found = rotate(tokens, rng(seed))
    doubled = tokens + tokens
    assert any(doubled[i : i + len(tokens)] == found for i in range(len(tokens)))
    assert rotate([], rng()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: corrupt_spans([1], rng(), sentinel=SENTINEL),
        lambda: corrupt_spans([1, 2], rng(), sentinel=SENTINEL, rate=1.0),
        lambda: corrupt_spans([1, 2], rng(), sentinel=SENTINEL, mean_length=0.5),
        lambda: infill([1, 2], rng(), mask=MASK, rate=1.0),
        lambda: infill([1, 2], rng(), mask=MASK, mean_length=0.0),
    ],
)
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()
