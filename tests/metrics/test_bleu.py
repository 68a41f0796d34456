import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.metrics.bleu import bleu

SENTENCE = st.lists(st.sampled_from("abcde"), max_size=9)
CORPUS = st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3)), min_size=1)


def split(text):
    return text.split()


@pytest.mark.parity
@settings(max_examples=150, deadline=None)
@given(corpus=CORPUS, smooth=st.booleans())
def test_it_is_sacrebleu(corpus, smooth):
    sacrebleu = pytest.importorskip("sacrebleu")
    most = max(len(references) for _, references in corpus)
    translations = [" ".join(translation) for translation, _ in corpus]
    streams = [
        [" ".join(refs[i]) if i < len(refs) else None for _, refs in corpus] for i in range(most)
    ]
    expected = sacrebleu.metrics.BLEU(
        tokenize="none", smooth_method="exp" if smooth else "none", force=True
    ).corpus_score(translations, streams)
    ours = bleu([t for t, _ in corpus], [refs for _, refs in corpus], smooth=smooth)
    assert ours.score == pytest.approx(expected.score, rel=1e-12, abs=1e-12)
    assert ours.brevity == pytest.approx(expected.bp, rel=1e-12)


def test_the_papers_examples_of_clipping():
    """Section 2.1: seven times "the" has a clipped precision of 2/7; candidate 1 has 17/18."""
    references = [split("the cat is on the mat"), split("there is a cat on the mat")]
    assert bleu([["the"] * 7], [references]).precisions[0] == pytest.approx(2 / 7)
    candidate = split(
        "it is a guide to action which ensures that the military always obeys the commands "
        "of the party"
    )
    references = [
        "it is a guide to action that ensures that the military will forever heed party commands",
        "it is the guiding principle which guarantees the military forces always being under "
        "the command of the party",
        "it is the practical guide for the army always to heed the directions of the party",
    ]
    found = bleu([candidate], [[split(r) for r in references]])
    assert found.precisions[:2] == pytest.approx((17 / 18, 10 / 17))


def test_a_perfect_translation_has_100_and_a_short_one_less():
    text = list("abcdef")
    assert bleu([text], [[text]]).score == pytest.approx(100)
    short = bleu([text[:5]], [[text]])
    assert short.score == pytest.approx(100 * math.exp(1 - 6 / 5))


def test_order_of_words_counts():
    text = list("abcdef")
    assert bleu([text[::-1]], [[text]]).score < 20


def test_nothing_is_compared_with_nothing():
    assert bleu([[]], [[["a"]]]).score == 0
    with pytest.raises(ValueError, match="one or more for each of the 1 translations"):
        bleu([["a"]], [[]])
    with pytest.raises(ValueError, match="one or more for each of the 2 translations"):
        bleu([["a"], ["b"]], [[["a"]]])
