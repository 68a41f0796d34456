import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.resnet_agent import (
    AgentConfig,
    AlphaZeroNet,
    ImpalaBlock,
    PolicyAndValue,
    act,
    agent,
    alphago_zero,
    policy_gradient_loss,
    search_loss,
)
from tests.systems.foundations.nets import on_meta, parameters, shake

KINDS = ("alphazero", "impala")
kinds = pytest.mark.parametrize("kind", KINDS)


def tiny(kind, **changes):
    sizes = {"rows": 6, "columns": 5, "width": 8, "depth": 2, "hidden": 16} | changes
    return AgentConfig(encoder=kind, **sizes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder": "mlp"},
        {"rows": 0},
        {"columns": 0},
        {"channels": 0},
        {"actions": 0},
        {"width": 1},
        {"depth": 0},
        {"hidden": 0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        AgentConfig(**wrong)


def test_alphago_zero_has_the_papers_layers():
    model = on_meta(AlphaZeroNet, alphago_zero())
    in_tower = [m for m in model.tower.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(in_tower) == 38  # 19 residual blocks of two
    assert {tuple(m.weight.shape) for m in in_tower} == {(256, 256, 3, 3)}
    assert model.policy[4].weight.shape == (362, 2 * 361)
    assert model.value[4].weight.shape == (256, 361)


def test_impala_has_fifteen_convolutions_of_the_papers_widths():
    model = on_meta(agent, AgentConfig(
        encoder="impala", rows=72, columns=96, channels=3, width=32, hidden=256, actions=9,
    ))  # fmt: skip
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16] * 5 + [32] * 10
    expected = (3 * 16 + 4 * 256 + 16 * 32 + 9 * 1024) * 9 + 5 * 16 + 10 * 32
    dense = 32 * 9 * 12 * 256 + 256 + 257 * 9 + 257
    assert parameters(model) == expected + dense


@kinds
def test_residual_blocks_without_their_branch_are_the_identity(kind):
    block = ImpalaBlock(4) if kind == "impala" else agent(tiny(kind)).tower[0]
    last = block.conv2 if kind == "impala" else block.bn2
    for parameter in last.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 4 if kind == "impala" else 8, 5, 5)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


@pytest.mark.parity
def test_an_impala_net_equals_a_chain_of_functions():
    model = shake(agent(tiny("impala", channels=2)))
    screens = torch.randn(3, 2, 6, 5, dtype=torch.float64)
    x = screens
    for stage in range(3):
        conv, _, *blocks = model.encoder[4 * stage : 4 * stage + 4]
        x = F.max_pool2d(F.conv2d(x, conv.weight, conv.bias, padding=1), 3, 2, 1)
        for block in blocks:
            y = F.conv2d(x.relu(), block.conv1.weight, block.conv1.bias, padding=1)
            x = x + F.conv2d(y.relu(), block.conv2.weight, block.conv2.bias, padding=1)
    dense = model.encoder[14]
    x = (x.relu().flatten(1) @ dense.weight.T + dense.bias).relu()
    found = model(screens)
    assert found.policy.std() > 0.3
    torch.testing.assert_close(found.policy, x @ model.policy.weight.T + model.policy.bias)
    torch.testing.assert_close(found.value, (x @ model.value.weight.T + model.value.bias)[:, 0])


def test_the_losses_are_their_formulas():
    torch.manual_seed(0)
    policy = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    value = torch.randn(5, dtype=torch.float64, requires_grad=True)
    judged = PolicyAndValue(policy=policy, value=value)
    pi = torch.rand(5, 3, dtype=torch.float64).softmax(1)
    z = torch.randn(5, dtype=torch.float64)
    p = policy.softmax(1)
    expected = ((z - value) ** 2 - (pi * p.log()).sum(1)).mean()
    torch.testing.assert_close(search_loss(judged, pi, z), expected)
    actions = torch.tensor([0, 2, 1, 1, 0])
    loss = policy_gradient_loss(judged, actions, z, entropy_weight=0.1)
    (of_policy,) = torch.autograd.grad(loss, policy, retain_graph=True)
    entropy = -(p * p.log()).sum(1)
    wanted = -(z - value).detach()[:, None] * (F.one_hot(actions, 3) - p)
    wanted = wanted + 0.1 * p * (p.log() + entropy[:, None])  # minus the entropy's gradient
    torch.testing.assert_close(of_policy, wanted.detach() / 5)
    (of_value,) = torch.autograd.grad(loss, value)
    torch.testing.assert_close(of_value, (value - z).detach() / 5)


def test_actions_are_drawn_from_the_policy():
    chances = torch.tensor([0.6, 0.3, 0.1])
    judged = PolicyAndValue(policy=chances.log().expand(5_000, 3), value=torch.zeros(5_000))
    drawn = act(judged, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 5_000
    torch.testing.assert_close(share, chances, atol=0.025, rtol=0)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 3), st.integers(1, 20), st.integers(1, 9))
def test_shapes(kind, batch, rows, actions):
    model = agent(tiny(kind, rows=rows, columns=7, actions=actions)).eval()
    found = model(torch.randn(batch, 1, rows, 7))
    assert found.policy.shape == (batch, actions)
    assert found.value.shape == (batch,)
    assert kind == "impala" or (found.value.abs() <= 1).all()


@kinds
def test_a_batch_is_its_boards_one_by_one(kind):
    model = shake(agent(tiny(kind))).eval()
    boards = torch.randn(3, 1, 6, 5, dtype=torch.float64)
    singly = [model(board[None]) for board in boards]
    torch.testing.assert_close(model(boards).policy, torch.cat([one.policy for one in singly]))
    torch.testing.assert_close(model(boards).value, torch.cat([one.value for one in singly]))


@kinds
def test_it_learns_by_reward_alone_to_go_where_the_light_is(kind):
    """A pixel world of one step: a dot lights up, and the action must name its quarter."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = agent(tiny(kind, rows=6, columns=6))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    rewards = []
    for _ in range(110):
        places = torch.randint(36, (64,), generator=generator)
        screens = F.one_hot(places, 36).float().view(-1, 1, 6, 6)
        wanted = 2 * (places // 6 > 2).long() + (places % 6 > 2).long()
        judged = model(screens)
        actions = act(judged, generator)
        returns = (actions == wanted).float()
        loss = policy_gradient_loss(judged, actions, returns)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rewards.append(returns.mean().item())
    assert sum(rewards[:3]) / 3 < 0.45  # luck gives a quarter
    assert sum(rewards[-5:]) / 5 > 0.75
