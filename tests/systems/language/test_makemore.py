from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.makemore import (
    RUNGS,
    MakemoreConfig,
    names_of,
    next_letter,
    rows_of,
    text_of,
)

NAMES = ("abner", "adah", "amos", "anna", "asa", "barak", "boaz", "caleb", "dan", "dinah", "eli",
         "enoch", "esau", "ezra", "gad", "ham", "hosea", "ira", "isaac", "jabin", "joab", "joel",
         "kish", "laban", "leah", "levi", "lot", "moab", "nahum", "noah", "obed", "omar", "perez",
         "ram", "ruth", "saul", "seth", "tamar", "uriah", "zadok")  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROWS = rows_of(NAMES, LETTERS, 6)


def make(rung, **changes):
    torch.manual_seed(0)
    return next_letter(MakemoreConfig(rung=rung, longest=6, **changes))


@pytest.mark.parametrize("rung", RUNGS)
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6))
def test_scores_have_a_row_a_token(rung, batch, length):
    assert make(rung)(ROWS[:batch, :length]).shape == (batch, length, 27)


@pytest.mark.parametrize(
    ("rung", "seen"), [("bigram", 1), ("mlp", 3), ("rnn", 6), ("gru", 6), ("transformer", 6)]
)
def test_each_rung_looks_further_back_and_none_ahead(rung, seen):
    model = make(rung).double()
    tokens = ROWS[:1, :6].clone()
    before = model(tokens)
    for place in range(6):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 5) % 27
        moved = (model(changed) - before)[0].abs().amax(dim=-1) > 1e-9
        assert moved.tolist() == [place <= at < place + seen for at in range(6)]


def test_the_bigrams_best_table_is_the_logarithm_of_the_counts():
    model = make("bigram").double()
    counts = torch.zeros(27, 27, dtype=torch.float64)
    for name in NAMES:
        ids = [0, *(LETTERS.index(c) + 1 for c in name), 0]
        for a, b in pairwise(ids):
            counts[a, b] += 1
    with torch.no_grad():
        model.table.weight.copy_((counts + 1e-12).log())
    model.loss(ROWS).backward()
    assert model.table.weight.grad.abs().max() < 1e-9
    chances = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    entropy = -(counts * chances.clamp_min(1e-300).log()).sum() / counts.sum()
    torch.testing.assert_close(model.loss(ROWS).detach(), entropy)


@pytest.mark.parametrize("rung", RUNGS)
def test_filling_a_row_up_costs_nothing(rung):
    model = make(rung).double()
    short = [name for name in NAMES if len(name) <= 4]
    rows, less = rows_of(short, LETTERS, 6), rows_of(short, LETTERS, 5)
    torch.testing.assert_close(model.loss(rows), model.loss(less))


def test_the_ladder_each_rung_learns_the_names_better_than_the_first():
    losses = {}
    for rung in RUNGS:
        model = make(rung)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for step in range(120):
            loss = model.loss(ROWS)
            if step == 0:
                assert loss > 2.9  # of ln 27 = 3.3: it knows nothing yet
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[rung] = float(model.loss(ROWS).detach())
    assert all(losses[rung] < losses["bigram"] - 0.2 for rung in RUNGS[1:])
    assert losses["transformer"] < 1.1


@pytest.mark.parametrize("rung", RUNGS)
def test_names_are_drawn_letter_by_letter_until_they_end(rung):
    model = make(rung)
    drawn = [model.generate(20, generator=torch.Generator().manual_seed(1)) for _ in "ab"]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (20, 7)
    ended = (drawn[0][:, 1:] == 0).int()
    assert (ended.diff(dim=1) >= 0).all()  # after its end a name has no letter
    assert all(len(name) <= 6 for name in text_of(drawn[0], LETTERS))


def test_names_and_rows():
    text = "And Adam knew Eve; and the man said, I have. Then Adam And EVE And the Lord THE"
    assert names_of(text) == ["adam", "eve", "lord", "then"]
    assert names_of(text, at_least=2) == ["adam"]
    assert text_of(ROWS, LETTERS) == list(NAMES)
    for bad in ("nebuchadnezzar", "zoë"):
        with pytest.raises(ValueError, match=f"at most 6 of the letters: '{bad}'"):
            rows_of([bad], LETTERS, 6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 1}, "vocab must be at least 2"), ({"window": 0}, "window must be at least 1"),
        ({"longest": 0}, "longest must be"), ({"width": 0}, "width must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        MakemoreConfig(**bad)
