import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mixed_text import CHINESE, CODE, PROSE

from orrery.systems.language.language_id import LanguageId, LanguageIdConfig

SPANISH = (
    "En el principio creó Dios los cielos y la tierra. Y la tierra estaba desordenada y vacía, y "
    "las tinieblas estaban sobre la faz del abismo, y el Espíritu de Dios se movía sobre la faz de "
    "las aguas. Y dijo Dios: Sea la luz: y fue la luz. Y vio Dios que la luz era buena: y apartó "
    "Dios la luz de las tinieblas. Y llamó Dios a la luz Día, y a las tinieblas llamó Noche: y fue "
    "la tarde y la mañana un día. Y dijo Dios: Haya expansión en medio de las aguas. "
)
HAN = "".join(letter for letter in CHINESE if "\u4e00" <= letter <= "\u9fff" or letter in "，。：")
SIZE = len(SPANISH)
SAMPLES = {"English": PROSE[1_000 : 1_000 + SIZE], "Chinese": HAN[:SIZE], "Python": CODE[:SIZE],
           "Spanish": SPANISH}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the terms of this license apply to any work of the author", "English"),
        ("e hizo Dios la expansión y apartó las aguas", "Spanish"),
        ("本项目的目标是让人理解模型", "Chinese"),
        ("def __init__(self, *, strict=True):\n    self.strict = strict", "Python"),
    ],
)
def test_languages_are_told_apart(text, language):
    model = LanguageId(LanguageIdConfig(), SAMPLES)
    assert model.best(text) == language
    assert model.chances(text)[language] > 0.9


def test_scores_are_the_naive_bayes_of_the_counts_by_hand():
    model = LanguageId(LanguageIdConfig(order=2), {"x": "aab", "y": "bb"})
    # x: a a b, aa ab; y: b b, bb. Six kinds with the unseen one: a b aa ab bb and it.
    assert model.scores("ab")["x"] == pytest.approx(
        math.log(3 / 11) + math.log(2 / 11) + math.log(2 / 11)
    )
    assert model.scores("ab")["y"] == pytest.approx(
        math.log(1 / 9) + math.log(3 / 9) + math.log(1 / 9)
    )
    assert sum(model.chances("ab").values()) == pytest.approx(1)


@given(st.text(max_size=50))
def test_chances_sum_to_1_and_neither_case_nor_white_space_matters(text):
    model = LanguageId(LanguageIdConfig(), {"a": SPANISH, "b": "the cat sat on the mat"})
    assert sum(model.chances(text).values()) == pytest.approx(1)
    spaced = " ".join(text.lower().split()).replace(" ", "\n ")
    assert model.scores(spaced) == model.scores(text.lower())


def test_only_the_beginning_is_looked_at():
    model = LanguageId(LanguageIdConfig(longest=20), SAMPLES)
    assert model.scores("And the waters prevailed" + SPANISH) == model.scores(
        "And the waters prevailed"
    )


def test_longer_n_grams_tell_better():
    def margin(order):
        found = LanguageId(LanguageIdConfig(order=order), SAMPLES).scores("la noche y el día")
        return found["Spanish"] - found["English"]

    assert margin(3) > margin(1) + 5


def test_bad_arguments_are_refused():
    for bad in ({"order": 0}, {"longest": 0}):
        with pytest.raises(ValueError, match="order and longest must be at least 1"):
            LanguageIdConfig(**bad)
    with pytest.raises(ValueError, match="at least 2 languages, got 1"):
        LanguageId(LanguageIdConfig(), {"a": "b"})
