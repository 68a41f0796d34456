import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mixed_text import PROSE

from orrery.systems.language.quality_filter import (
    QualityConfig,
    Surprise,
    broken_rule,
    repeated,
    top_share,
)

GOOD = (
    "And it came to pass in those days that there went out a decree, that all the world should "
    "be counted.\nAnd all went to be counted, every one with his own people.\n"
)
CONFIG = QualityConfig()
MANY = " ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)) + " the and"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (GOOD, None),
        ("", "word count"),
        ("the and of", "word count"),
        ("a b c d e f g h i j k l m n o p q r s t u the and", "word length"),
        (MANY.replace("word", "extraordinarily"), "word length"),
        (GOOD + "# # # # # # #", "symbols"),
        ("\n".join("- " + line for line in MANY.split(" ")), "bullets"),
        ("\n".join(f"{a} {a}x is the {a}y and..." for a in MANY.split()[:9]), "symbols"),
        ("\n".join([GOOD.replace("\n", " "), MANY + "...", "to be had..."]), "cut off"),
        (GOOD + "2021 " * 20 + " ".join(map(str, range(1000, 1020))), "letters"),
        (MANY.replace("the and", "cat dog"), "stop words"),
        (GOOD + "See our Terms of Use.", "not prose"),
        ("\n".join([GOOD.split("\n")[0]] * 2 + ["to be had"] * 2), "repeated lines"),
        (MANY + " buy shoes" * 20, "repeated words"),
    ],
)
def test_each_rule_is_broken_by_what_it_is_for(text, rule):
    assert broken_rule(text, CONFIG) == rule


def test_limits_are_the_configs():
    assert broken_rule(GOOD, QualityConfig(least_words=50)) == "word count"
    assert broken_rule("the and of", QualityConfig(least_words=1, mean_word=(1.0, 10.0))) is None


@given(st.text(max_size=200))
def test_any_text_is_judged(text):
    assert broken_rule(text, CONFIG) is None or isinstance(broken_rule(text, CONFIG), str)


def test_shares_of_repetition():
    assert repeated([]) == 0
    assert repeated(["a", "b", "a", "a"]) == 0.5
    assert top_share(["to", "be", "or", "not", "to", "be"], 2) == pytest.approx(8 / 13)
    assert top_share(["a", "b", "c"], 2) == 0
    assert top_share(["a", "a", "a", "a"], 2) == 1  # counts overlap: never above 1


def test_what_is_unlike_the_clean_text_surprises():
    model = Surprise(PROSE[:8_000])
    clean = PROSE[8_200:9_200]
    letters = list(clean)
    np.random.default_rng(0).shuffle(letters)
    assert model.bits(clean) < model.bits("".join(letters)) - 1
    assert model.bits(PROSE[2_000:3_000]) < model.bits(clean)
    assert model.bits("") == math.inf


def test_the_limit_is_a_quantile_of_clean_documents():
    model = Surprise(PROSE[:8_000])
    parts = [PROSE[i : i + 300] for i in range(8_000, 11_000, 300)]
    limit = model.limit(parts, 0.7)
    assert sum(model.bits(part) <= limit for part in parts) == 7


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"least_words": 0}, "least_words must be in"),
        ({"mean_word": (4.0, 3.0)}, "mean_word must rise"),
        ({"symbols": 1.5}, r"symbols must be in \[0, 1\], got 1.5"),
        ({"stop_words": 9}, r"stop_words must be in \[0, 8\], got 9"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        QualityConfig(**bad)
