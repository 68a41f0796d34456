"""The model of the page translates, and its attention does what the grammar asks for."""

import pytest

from orrery.systems.language.annotated_transformer import END, SHOWN, sentence_pairs, walk


def test_it_translates_a_sentence_that_it_never_saw():
    learned = walk(steps=100)
    untrained = walk(steps=1, batch=2)
    losses = [m.model.loss(m.source, m.target, m.following).item() for m in (untrained, learned)]
    assert losses[0] > 2.0
    assert losses[1] < 0.9
    written = learned.run()[0]
    assert learned.text(written) == SHOWN[1]
    assert written[-1] == END
    # After "el" comes "rey", and after "rey" "viejo": "king" and "old" change their order.
    weights = learned.model(learned.source, learned.target, maps=True).maps[-1][0].mean(dim=0)
    assert weights[1].argmax() == 2
    assert weights[2].argmax() == 1


def test_the_grammar_agrees_in_gender():
    pairs = dict(sentence_pairs())
    assert len(pairs) == 3 * 4 * 3 * 3 * 4
    assert pairs[SHOWN[0]] == SHOWN[1]
    assert pairs["the red girl saw the old book"] == "la niña roja vio el libro viejo"


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match=r"at least 1, got .*0"):
        walk(**change)
