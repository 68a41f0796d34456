"""Reviews written here, and the two real sets of them. A set that cannot be had is skipped."""

import numpy as np
import pytest

from orrery.data import chinese_reviews, movie_snippets
from orrery.data.fetch import is_present
from orrery.data.reviews import Reviews, distinct, letters, split
from tests.data.test_sets import have

TOLD = [
    ("A fine film!", 2.0),
    ("a fine film", 1.0),
    ("Nothing happens.", -3.0),
    ("So-so", 0.0),
    ("It left me speechless", 1.5),
    ("It left me... speechless", -1.0),
    ("Bah!", -4.0),
]


def test_a_review_stands_once_and_never_on_both_sides():
    found = distinct(TOLD)
    assert found.texts == ("A fine film!", "Nothing happens.", "So-so", "Bah!")
    assert found.scores.tolist() == [2, -3, 0, -4]
    assert distinct(TOLD, shortest=4).texts == found.texts[:3]
    assert letters("这本书，很好！ A_1") == "这本书很好a1"


def test_a_third_telling_does_not_bring_a_torn_review_back():
    assert len(distinct([("x", 1.0), ("x", -1.0), ("x", 1.0)])) == 0


def test_sides_leave_out_what_is_near_neither():
    texts, labels = distinct(TOLD).sides(2.5)
    assert texts == ("Nothing happens.", "Bah!")
    assert labels.tolist() == [0, 0]
    assert distinct(TOLD).sides()[1].tolist() == [1, 0, 0]  # a score of 0 is on no side
    with pytest.raises(ValueError, match="least must be at least 0, got -1"):
        distinct(TOLD).sides(-1.0)
    with pytest.raises(ValueError, match="1 texts but 2 scores"):
        Reviews(("one",), np.zeros(2))


def test_the_part_of_a_review_depends_on_its_opening_alone():
    many = distinct((f"{i} hours, told at length", 1.0) for i in range(4_000))
    parts = split(many)
    assert [len(part) for part in parts] == pytest.approx([3_200, 400, 400], rel=0.15)
    texts = [set(part.texts) for part in parts]
    assert set.union(*texts) == set(many.texts)
    later = split(Reviews(many.texts[::-2], many.scores[::-2]))
    longer = split(Reviews(tuple(f"{text.upper()}!!" for text in many.texts), many.scores))
    for part, fewer, other in zip(texts, later, longer, strict=True):
        assert set(fewer.texts) < part
        assert {text[:-2].lower() for text in other.texts} == part


@pytest.mark.parametrize("module", [movie_snippets, chinese_reviews])
def test_the_real_sets_are_what_their_cards_say_and_no_review_crosses_the_split(module):
    if module is chinese_reviews and not is_present(module.CARD):
        pytest.skip("38 MB to fetch: tested where it is here (orrery data get chinese_reviews)")
    found = have(module).load()
    assert len(found) == module.CARD.counts["reviews"]
    assert np.abs(found.scores).max() <= 4
    assert not any("&amp;" in text or "\r" in text or "\n" in text for text in found.texts)
    parts = module.split()
    assert sum(map(len, parts)) == len(found)
    seen = [{letters(text)[:15] for text in part.texts} for part in parts]
    assert not any(seen[a] & seen[b] for a, b in ((0, 1), (0, 2), (1, 2)))
    for part in parts:
        assert 0.45 < (part.scores > 0).mean() < 0.55


def test_the_snippets_have_their_accents_and_scores_that_fit():
    found = have(movie_snippets).load()
    scores = dict(zip(found.texts, found.scores, strict=True))
    assert scores["Absorbing character study by André Turpin."] > 1
    assert scores["Effective but too tepid biopic"] == pytest.approx(-0.6)
    words = {"brilliant": 1, "charming": 1, "dull": -1, "tedious": -1}
    for word, side in words.items():
        assert side * np.mean([s for text, s in scores.items() if word in text.lower()]) > 0.8
