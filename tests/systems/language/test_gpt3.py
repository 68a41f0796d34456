from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.gpt2 import Gpt2, Gpt2Config
from orrery.systems.language.gpt3 import SIZES, TOKENS, config, cost, parameters


@pytest.mark.parametrize("name", list(SIZES))
def test_parameters_and_operations_are_those_of_table_d1(name):
    row, found = SIZES[name], cost(name)
    assert found["parameters"] == pytest.approx(row.parameters, rel=0.006)
    assert found["operations"] == pytest.approx(row.operations, rel=0.006)
    assert 6 * row.parameters * TOKENS == pytest.approx(row.operations, rel=0.005)


def test_the_largest_is_175_billion_on_300_billion_tokens():
    found = cost("175B")
    assert found["parameters"] == 174_604_259_328
    assert found["tokens"] == 300e9
    assert found["operations"] == pytest.approx(3.14e23, rel=0.002)
    assert 90_000 < found["steps"] < 100_000


def test_the_printed_width_of_13b_is_not_that_of_its_printed_parameters():
    printed = replace(config("13B"), width=SIZES["13B"].width, heads=20)
    assert abs(parameters(printed) - SIZES["13B"].parameters) > 5e7
    assert abs(parameters(config("13B")) - SIZES["13B"].parameters) < 1e7
    assert SIZES["1.3B"].heads * SIZES["1.3B"].head_size != SIZES["1.3B"].width


@settings(max_examples=8, deadline=None)
@given(depth=st.integers(1, 3), heads=st.integers(1, 3), inner=st.sampled_from([None, 5]),
       tied=st.booleans())  # fmt: skip
def test_parameters_are_counted_without_a_model(depth, heads, inner, tied):
    sizes = Gpt2Config(vocab=7, context=5, depth=depth, heads=heads, width=4 * heads,
                       inner=inner, tied=tied)  # fmt: skip
    with torch.device("meta"):
        assert parameters(sizes) == sum(p.numel() for p in Gpt2(sizes).parameters())


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match=r"size must be one of 125M, .* got '1B'"):
        config("1B")
