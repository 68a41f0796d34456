import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.language.lost_in_the_middle import DIGITS, KEYS, FactList, by_part, draw, found


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@given(count=st.integers(1, 32), seed=st.integers(0, 99))
def test_keys_and_values_differ_and_stand_in_the_context_in_order(count, seed):
    pairs = draw(count, rng(seed))
    assert len(set(pairs.keys)) == len(set(pairs.values)) == count
    both = zip(pairs.keys, pairs.values, strict=True)
    places = [pairs.context.index(f'"{key}": "{value}"') for key, value in both]
    assert places == sorted(places)
    assert {len(value) for value in pairs.values} == {DIGITS}


class Reader:
    """Not a model: it remembers the text in the cache's stead, and answers by a rule."""

    def __init__(self, rule):
        self.rule, self.lengths = rule, []

    def __call__(self, tokens, cache):
        kept = cache.keys[0][0, 0, :, 0].long().tolist() if cache.keys else []
        self.lengths.append(tokens.shape[1])
        fresh = tokens.float()[None, :, :, None]
        cache.extend(0, fresh, fresh)
        scores = torch.zeros(tokens.shape[1], 256)
        text = bytes(kept).decode()
        whole = kept + tokens[0].tolist()
        for i in range(tokens.shape[1]):
            written = bytes(whole[: len(kept) + i + 1]).decode()
            scores[i, self.rule(text, written)] = 1.0
        return scores


def looks_up(forgets=()):
    """A rule that finds the value in the context, but for keys it has forgotten."""

    def rule(context, written):
        _, said, asked = written.rpartition("in the JSON data is ")
        key, _, begun = asked.partition('": "')
        place = context.find(f'{key}": "')
        if not said or place < 0 or key.strip('"') in forgets:
            return ord("x")
        return ord(context[place + len(key) + 4 + len(begun)])

    return rule


def encode(text):
    return list(text.encode())


def test_a_reader_that_looks_up_finds_all_and_reads_the_context_once():
    pairs, reader = draw(9, rng()), Reader(looks_up())
    assert found(reader, encode, pairs) == [True] * 9
    assert reader.lengths[0] == len(pairs.context)
    assert max(reader.lengths[1:]) < len(pairs.context)


def test_a_reader_that_forgets_the_middle_is_seen_to():
    pairs = draw(9, rng(1))
    right = found(Reader(looks_up(pairs.keys[3:6])), encode, pairs)
    assert by_part(right) == (1.0, 0.0, 1.0)


def test_thirds_of_any_number_of_places():
    assert by_part([True, False, True, True]) == (0.5, 1.0, 1.0)
    assert by_part([True]) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("count", [0, len(KEYS) + 1])
def test_more_pairs_than_keys_are_refused(count):
    with pytest.raises(ValueError, match=r"count must be in \[1, 32\]"):
        draw(count, rng())


def test_the_question_ends_where_the_value_begins():
    assert FactList(("apple",), ("123",)).question(0).endswith('"apple": "')
