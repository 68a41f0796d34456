"""Characters: text to numbers and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data.characters import UNKNOWN, Characters


@given(st.text(min_size=1))
@settings(deadline=None)
def test_round_trip(text):
    known = Characters.from_text(text)
    assert known.decode(known.encode(text)) == text
    assert list(known.characters) == sorted(set(text))


@given(st.text(min_size=1), st.text())
@settings(deadline=None)
def test_unseen_characters_become_unknown(seen, text):
    known = Characters.from_text(seen, unknown=True)
    place = {character: i for i, character in enumerate(known.characters)}
    naive = [place.get(character, 0) for character in text]
    ids = known.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == naive
    assert known.decode(ids) == "".join(c if c in place else UNKNOWN for c in text)


def test_unseen_characters_are_refused_without_unknown():
    with pytest.raises(ValueError, match="'é' is none of the 3 known characters"):
        Characters.from_text("abc").encode("abécé")


def test_rare_characters_can_be_left_out():
    known = Characters.from_text("aaabbc", unknown=True, at_least=2)
    assert known.characters == f"{UNKNOWN}ab"
    assert len(known) == 3


@pytest.mark.parametrize("ids", [[3], [-1], [0, 7]])
def test_ids_out_of_range_are_refused(ids):
    with pytest.raises(ValueError, match="ids must be from 0 to 2"):
        Characters("abc").decode(ids)


@pytest.mark.parametrize("characters", ["", "aa"])
def test_no_vocabulary_or_a_doubled_character_is_refused(characters):
    with pytest.raises(ValueError, match="each of them once"):
        Characters(characters)
