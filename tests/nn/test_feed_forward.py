import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.feed_forward import FeedForward, share_of_block
from orrery.systems.language.gpt2 import Gpt2Block, Gpt2Config


def make(width=5, inner=None, **changes):
    torch.manual_seed(0)
    return FeedForward(width, inner, **changes).double()


@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(1, 4), width=st.integers(1, 5), inner=st.sampled_from([None, 3]),
    activation=st.sampled_from(["relu", "gelu"]), bias=st.booleans(),
)  # fmt: skip
def test_it_is_a_sum_of_values_weighed_by_the_answers_of_keys(n, width, inner, activation, bias):
    block = make(width, inner, activation=activation, bias=bias)
    x = torch.randn(n, width, dtype=torch.float64)
    scores = x @ block.keys.T + (block.up.bias if bias else 0)
    answers = block.activation(scores)
    torch.testing.assert_close(block.answers(x), answers)
    total = sum(answers[:, [i]] * block.values[i] for i in range(answers.shape[1]))
    torch.testing.assert_close(block(x), total + (block.down.bias if bias else 0))


def test_a_memory_taken_out_takes_its_value_along():
    block, x = make(), torch.randn(4, 5, dtype=torch.float64)
    before, answers = block(x), block.answers(x)
    value = block.values[7].clone()
    with torch.no_grad():
        block.down.weight[:, 7] = 0
    torch.testing.assert_close(before - block(x), answers[:, [7]] * value)
    silent = (answers == 0).float().mean()
    assert 0.2 < silent < 0.8  # ReLU: a token takes from some memories and not from others


def test_each_token_is_by_itself():
    block, x = make(), torch.randn(4, 5, dtype=torch.float64)
    changed = x.clone()
    changed[2] += 1
    same = (block(changed) == block(x)).all(dim=1)
    assert same.tolist() == [True, True, False, True]


def test_two_thirds_of_a_block_lie_here():
    assert share_of_block(768, 4 * 768) == pytest.approx(2 / 3)
    block = Gpt2Block(Gpt2Config(), 0)
    matrices = {name: p.numel() for name, p in block.named_parameters() if p.ndim == 2}
    here = sum(n for name, n in matrices.items() if name.startswith("feed_forward."))
    assert here / sum(matrices.values()) == pytest.approx(2 / 3)


def test_it_learns_a_function_that_no_linear_map_is():
    block = FeedForward(2, 8, activation="relu").double()
    torch.manual_seed(1)
    torch.nn.init.normal_(block.up.weight)
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
    target = torch.tensor([[0.0, 0], [1, 0], [1, 0], [0, 0]]).double()
    optimiser = torch.optim.Adam(block.parameters(), 0.03)
    losses = []
    for _ in range(150):
        loss = (block(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.05
    assert losses[-1] < 0.01


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation must be one of gelu"):
        FeedForward(2, activation="nothing")
