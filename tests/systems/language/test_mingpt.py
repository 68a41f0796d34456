import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.systems.language.mingpt import (
    Adder,
    AdderConfig,
    digits_of,
    every_sum,
    number_of,
    rows_of,
)


def test_the_example_of_mingpt():
    assert rows_of(torch.tensor([85]), torch.tensor([50]), 2).tolist() == [[8, 5, 5, 0, 5, 3, 1]]


@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_rows_hold_both_numbers_and_their_sum(a, b):
    row = rows_of(torch.tensor([a]), torch.tensor([b]), 5)
    assert row.shape == (1, AdderConfig(digits=5).length)
    assert number_of(row[:, :5].flip(1)).item() == a
    assert number_of(row[:, 5:10].flip(1)).item() == b
    assert number_of(row[:, 10:]).item() == a + b
    assert number_of(digits_of(torch.tensor([a]), 5)).item() == a


def test_the_loss_is_that_of_the_sums_digits_alone():
    torch.manual_seed(0)
    model = Adder(AdderConfig(digits=2)).double()
    rows = rows_of(torch.tensor([85, 9]), torch.tensor([50, 99]), 2)
    chances = model.log_probabilities(rows[:, :-1])
    picked = chances.gather(-1, rows[:, 1:, None])[:, 3:, 0]  # the places that follow 8 5 5 0
    assert picked.shape == (2, 3)
    torch.testing.assert_close(model.sum_loss(rows), -picked.mean())


def test_it_learns_to_add_digits_that_it_was_not_shown_together():
    torch.manual_seed(0)
    model = Adder(AdderConfig(digits=1, depth=1, heads=2, width=48))
    a, b = every_sum(1)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    seen, unseen = order[:90], order[90:]
    before = float((model.add(a, b) == a + b).double().mean())
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-4)
    for _ in range(250):
        loss = model.sum_loss(rows_of(a[seen], b[seen], 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert before < 0.2
    assert (model.add(a[seen], b[seen]) == a[seen] + b[seen]).all()
    right = (model.add(a[unseen], b[unseen]) == a[unseen] + b[unseen]).double().mean()
    assert right > before  # a few sums teach what others are


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"digits": 0}, r"digits must be in \[1, 9\]"), ({"digits": 10}, "digits must be in"),
     ({"width": 30}, "width must be a multiple")],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        AdderConfig(**bad)
