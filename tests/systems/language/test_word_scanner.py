import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import MIXED, texts

from orrery.systems.language.word_scanner import (
    LETTER,
    NUMBER,
    OTHER,
    SPACE,
    STYLES,
    class_at,
    classes,
    word_end,
)


def words(text, style):
    data, i, found = np.frombuffer(text.encode(), np.uint8), 0, []
    while i < len(data):
        end = word_end(data, i, len(data), classes(), style)
        found.append(data[i:end].tobytes().decode())
        i = end
    return found


@pytest.mark.parametrize("pattern", STYLES)
def test_words_of_a_long_text_are_those_of_the_pattern(pattern):
    found = words(MIXED[-60_000:], STYLES[pattern])
    assert found == regex.findall(pattern, MIXED[-60_000:])


@settings(max_examples=300, deadline=None)
@given(texts, st.sampled_from(sorted(STYLES)))
def test_words_are_those_of_the_pattern(text, pattern):
    assert words(text, STYLES[pattern]) == regex.findall(pattern, text)


@given(st.characters(exclude_categories=["Cs"]))
def test_a_character_is_read_whole_and_has_the_class_of_the_pattern(letter):
    raw = np.frombuffer((letter + "x").encode(), np.uint8)
    kind, size = class_at(raw, 0, classes())
    assert size == len(letter.encode())
    assert (kind == LETTER) == bool(regex.match(r"\p{L}", letter))
    assert (kind == NUMBER) == bool(regex.match(r"\p{N}", letter))
    assert (kind >= SPACE) == bool(regex.match(r"\s", letter))


def test_a_word_never_reaches_past_the_end_of_its_text():
    data = np.frombuffer(b"one  two", np.uint8)
    for style in set(STYLES.values()):
        assert word_end(data, 0, 2, classes(), style) == 2
        assert word_end(data, 3, 5, classes(), style) == 5  # the text ends: both spaces are one
        assert word_end(data, 3, 8, classes(), style) == 4  # the last one is the next word's
    assert classes()[ord("!")] == OTHER
