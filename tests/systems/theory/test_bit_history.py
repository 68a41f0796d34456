import numpy as np
import pytest

from orrery.systems.theory.bit_history import BOUND, first_guess, follow, histories

ORDER, AFTER = histories()


def test_a_byte_numbers_every_history_that_can_come_up():
    assert ORDER[0] == (0, 0)
    assert len(set(ORDER)) == len(ORDER) == len(AFTER) <= 256
    assert all(max(pair) * (min(pair) + 1) <= BOUND for pair in ORDER)


def test_the_table_says_what_the_rule_says():
    for number, counts in enumerate(ORDER):
        for bit in (0, 1):
            assert ORDER[AFTER[number, bit]] == follow(counts, bit)


def test_zeros_and_ones_are_treated_alike():
    assert all(follow((b, a), 1 - y) == follow((a, b), y)[::-1] for a, b in ORDER for y in (0, 1))


def test_a_run_is_counted_up_to_the_bound_and_a_surprise_makes_it_forget():
    counts = (0, 0)
    for step in range(2 * BOUND):
        counts = follow(counts, 0)
        assert counts == (min(step + 1, BOUND), 0)
    assert follow(counts, 1) == (BOUND.bit_length(), 1)
    assert follow((2, 0), 1) == (2, 1)


def test_the_first_guess_is_the_share_of_ones_drawn_towards_a_half():
    zeros, ones = np.array(ORDER).T
    np.testing.assert_allclose(
        first_guess(ORDER) / 2**22, (ones + 0.4) / (zeros + ones + 0.8), atol=2**-22
    )


@pytest.mark.parametrize("bound", [3, 65])
def test_a_bound_out_of_range_is_refused(bound):
    with pytest.raises(ValueError, match=rf"bound must be in \[4, 64\], got {bound}"):
        histories(bound)
