import math

import pytest

from orrery.metrics.compression import bits, bits_per_character


def test_a_fair_choice_among_256_is_a_byte():
    assert bits(math.log(256)) == pytest.approx(8.0, abs=1e-12)


def test_a_token_of_four_characters_is_worth_a_quarter_each():
    tokens, loss = 250, 1.7
    assert bits_per_character(tokens * loss, characters=1_000) == pytest.approx(bits(loss) / 4)


def test_no_characters_is_refused():
    with pytest.raises(ValueError, match="characters must be at least 1, got 0"):
        bits_per_character(1.0, characters=0)
