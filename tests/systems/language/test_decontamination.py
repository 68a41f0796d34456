import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.language.decontamination import Decontamination, DecontaminationConfig

HELD_OUT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def check(words=13):
    return Decontamination(DecontaminationConfig(words=words), [HELD_OUT, "short"])


def test_thirteen_words_in_a_row_give_a_test_away_and_twelve_do_not():
    words = HELD_OUT.split()
    assert check().shared("before " + " ".join(words[1:14]) + " after") > 0
    assert check().shared(" ".join(words[:12]) + " other " + " ".join(words[13:])) == 0
    assert check().shared(HELD_OUT) == 1


def test_case_and_punctuation_do_not_hide_it():
    assert check().shared(HELD_OUT.upper().replace(" ", ",\n ") + "!") == 1


def test_the_share_is_that_of_rows():
    assert check(2).shared("one two x") == 0.5
    assert check(2).shared("") == check(2).shared("one") == 0


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(1, 5))
def test_it_is_found_wherever_it_stands(words, size):
    model = Decontamination(DecontaminationConfig(words=size), ["x y z w v"])
    row = " ".join(["x", "y", "z", "w", "v"][:size])
    assert model.shared(" ".join(words)) == 0
    assert model.shared(" ".join([*words, row, *words])) > 0


def test_no_words_are_refused():
    with pytest.raises(ValueError, match="words must be at least 1, got 0"):
        DecontaminationConfig(words=0)
