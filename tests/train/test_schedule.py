import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from orrery.train.schedule import scale_rates, trapezoid, warmup_cosine

lengths = st.integers(1, 500)


@given(steps=lengths, share=st.floats(0, 1), floor=st.floats(0, 1))
def test_cosine_rises_in_a_line_and_falls_to_its_floor(steps, share, floor):
    warmup = int(share * (steps - 1))
    rates = [warmup_cosine(s, steps, warmup=warmup, floor=floor) for s in range(steps)]
    assert rates[:warmup] == pytest.approx([(s + 1) / (warmup + 1) for s in range(warmup)])
    assert rates[warmup] == pytest.approx(1.0)
    assert all(a >= b for a, b in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
    assert warmup_cosine(steps, steps, warmup=warmup, floor=floor) == pytest.approx(floor)


@given(steps=lengths, warmup=st.integers(0, 20), cooldown=st.floats(0, 1))
def test_trapezoid_is_level_between_two_lines(steps, warmup, cooldown):
    rates = [trapezoid(s, steps, warmup=warmup, cooldown=cooldown) for s in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    level = rates[min(warmup, steps) : max(0, math.floor(steps - cooldown * steps))]
    assert level == pytest.approx([1.0] * len(level))


def test_rates_are_shares_of_the_rate_at_the_start_also_after_a_restart():
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([{"params": [weight], "lr": 0.5}], lr=0.1)
    scale_rates(optimiser, 0.5)
    scale_rates(optimiser, 0.2)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1)
    again = torch.optim.SGD([{"params": [weight], "lr": 0.5}], lr=0.1)
    again.load_state_dict(optimiser.state_dict())
    scale_rates(again, 1.0)
    assert again.param_groups[0]["lr"] == pytest.approx(0.5)
