import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.theory.arithmetic_coder import (
    LARGEST_TOTAL,
    Decoder,
    Encoder,
    information,
    quantise,
)

tables = st.lists(st.integers(1, 2**20), min_size=1, max_size=40).map(lambda f: np.array(f, "u4"))


@st.composite
def messages(draw):
    """Symbols, each with its own frequencies, as a learning model has them."""
    pool = draw(st.lists(tables, min_size=1, max_size=4))
    picks = draw(st.lists(st.tuples(st.sampled_from(range(len(pool))), st.integers(0, 999))))
    return [(symbol % len(pool[which]), pool[which]) for which, symbol in picks]


def code_of(message):
    encoder = Encoder()
    for symbol, frequencies in message:
        encoder.encode_symbol(symbol, frequencies)
    return encoder.finish()


@settings(max_examples=150, deadline=None)
@given(messages())
def test_what_was_encoded_is_decoded_in_less_than_its_information_and_a_byte(message):
    code = code_of(message)
    decoder = Decoder(code)
    assert [decoder.decode_symbol(f) for _, f in message] == [s for s, _ in message]
    assert 8 * len(code) < sum(information(s, f) for s, f in message) + 8 + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.001, 0.999))
def test_a_coin_costs_its_entropy(seed, chance):
    one = max(1, round(chance * 2**16))
    frequencies = np.array([2**16 - one, one], dtype=np.uint32)
    tosses = (np.random.default_rng(seed).random(500) < one / 2**16).astype(int)
    ideal = sum(information(int(s), frequencies) for s in tosses)
    assert abs(8 * len(code_of([(int(s), frequencies) for s in tosses])) - ideal) <= 16


def exact_interval(message):
    """The interval of a message by the definition, in fractions of arbitrary precision."""
    low, width, scale = 0, 1, 1
    for symbol, frequencies in message:
        total, start = int(frequencies.sum()), int(frequencies[:symbol].sum())
        low, width = low * total + width * start, width * int(frequencies[symbol])
        scale *= total
    return low, width, scale


@settings(max_examples=100, deadline=None)
@given(messages())
def test_the_code_is_a_number_that_lies_in_the_interval_of_the_definition(message):
    """To within the rounding of widths, 2^-20 of a symbol's share at these totals."""
    code = code_of(message)
    low, width, scale = exact_interval(message)
    number = int.from_bytes(code, "big") << 64
    unit = 1 << (8 * len(code) + 64)
    slack = (len(message) * scale * unit) >> 20
    assert low * unit - slack <= number * scale < (low + width) * unit + slack


def test_a_carry_runs_through_the_bytes_written():
    encoder = Encoder()
    encoder.written[:6] = [127, 255, 255, 255, 255, 9]
    encoder.registers[:] = [2**64 - 1, 2**58, 5]
    encoder.encode(1, 1, 2)
    assert encoder.written[:6].tolist() == [128, 0, 0, 0, 0, 9]
    assert encoder.registers.tolist() == [2**57 - 1, 2**57, 5]


def test_nothing_takes_no_bytes_and_certainty_takes_none_either():
    assert code_of([]) == b""
    assert code_of([(0, np.array([7], "u4"))] * 1000) == b""


def test_the_largest_total_is_coded_exactly():
    frequencies = np.array([1, 2**32 - 2, 1], dtype=np.uint32)
    message = [(s, frequencies) for s in (0, 1, 2, 2, 1, 0)]
    decoder = Decoder(code_of(message))
    assert [decoder.decode_symbol(f) for _, f in message] == [0, 1, 2, 2, 1, 0]
    assert sum(map(int, frequencies)) == LARGEST_TOTAL


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=30), tables)
def test_any_bytes_decode_to_something(code, frequencies):
    decoder = Decoder(code)
    assert all(0 <= decoder.decode_symbol(frequencies) < len(frequencies) for _ in range(50))


@pytest.mark.parametrize(
    ("start", "size", "total"), [(0, 0, 4), (3, 2, 4), (-1, 1, 4), (0, 1, 2**33)]
)
def test_a_share_outside_the_whole_is_refused(start, size, total):
    with pytest.raises(ValueError, match=rf"must be a share.*start={start}, size={size}"):
        Encoder().encode(start, size, total)


@pytest.mark.parametrize(
    ("frequencies", "message"),
    [
        ([1, 0], "at least 1"),
        ([], "at least 1"),
        ([2**32 - 1, 2], "at most 2\\^32, got 4294967297"),
    ],
)
def test_frequencies_no_coder_can_use_are_refused(frequencies, message):
    for use in (lambda f: Encoder().encode_symbol(0, f), Decoder(b"").decode_symbol):
        with pytest.raises(ValueError, match=message):
            use(np.array(frequencies, dtype=np.uint32))


def test_a_symbol_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"symbol must be in \[0, 2\), got 2"):
        Encoder().encode_symbol(2, np.array([1, 1], "u4"))


def test_quantised_chances_cost_next_to_nothing_and_rule_nothing_out():
    chances = np.random.default_rng(0).dirichlet(np.full(256, 0.05), size=8)
    frequencies = quantise(chances)
    assert frequencies.min() == 1
    assert frequencies.sum(axis=1).max() <= 2**24 + 256
    shares = frequencies / frequencies.sum(axis=1, keepdims=True)
    extra = (chances * np.log2(np.maximum(chances, 1e-300) / shares)).sum(axis=1)
    assert np.all(extra < 1e-4)
    assert information(0, np.array([1, 3], "u4")) == pytest.approx(math.log2(4))
