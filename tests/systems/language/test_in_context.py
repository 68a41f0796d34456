import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from orrery.systems.language.gpt import GptConfig
from orrery.systems.language.in_context import InContextLearner, LinearTasks, errors, regress


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make(dim=2, pairs=6, width=32):
    torch.manual_seed(0)
    config = GptConfig(vocab=1, context=2 * pairs, depth=2, heads=4, width=width)
    return InContextLearner(config, dim)


@pytest.mark.parity
@settings(max_examples=10, deadline=None)
@given(dim=st.integers(1, 4), seen=st.integers(1, 9), seed=st.integers(0, 99))
def test_regressions_are_sklearns(dim, seen, seed):
    tasks = LinearTasks(dim=dim, noise=0.5)
    x, y = (z.double() for z in tasks.draw(2, seen + 1, rng(seed)))
    for row in range(2):
        past, answers, new = x[row, :seen].numpy(), y[row, :seen].numpy(), x[row, seen:].numpy()
        plain = LinearRegression(fit_intercept=False).fit(past, answers).predict(new)
        assert regress(x, y)[row, seen] == pytest.approx(float(plain[0]), rel=1e-5, abs=1e-6)
        penalty = 0.25 * dim  # for points that are not divided by the root of dim
        ridge = Ridge(penalty, fit_intercept=False).fit(past, answers).predict(new)
        assert tasks.ridge(x, y)[row, seen] == pytest.approx(float(ridge[0]), rel=1e-5, abs=1e-6)


def test_answers_have_variance_one_and_that_of_the_noise():
    _, y = LinearTasks(dim=5, noise=0.5).draw(4000, 10, rng())
    assert float(y.square().mean()) == pytest.approx(1.25, abs=0.05)


def test_no_penalty_is_better_than_the_right_one():
    tasks = LinearTasks(dim=3, noise=0.5)
    x, y = tasks.draw(4000, 6, rng())
    right = errors(tasks.ridge(x, y), y)
    for penalty in (0.02, 5.0):
        other = errors(regress(x / 3**0.5, y, penalty=penalty), y)
        assert (right[1:] < other[1:]).all()
    assert right[-1] > 0.25  # the noise of the answer itself cannot be foretold
    torch.testing.assert_close(right[0], y[:, 0].square().mean())


@settings(max_examples=8, deadline=None)
@given(tasks=st.integers(1, 3), pairs=st.integers(1, 6), dim=st.integers(1, 3))
def test_shapes(tasks, pairs, dim):
    x, y = LinearTasks(dim=dim).draw(tasks, pairs, rng())
    assert make(dim)(x, y).shape == y.shape == (tasks, pairs)


def test_an_answer_is_not_seen_before_it_is_foretold():
    model, (x, y) = make(), LinearTasks(dim=2).draw(2, 6, rng())
    before = model(x, y)
    y[:, 3] += 1
    after = model(x, y)
    assert torch.equal(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])
    x[:, 5] += 1
    assert torch.equal(model(x, y)[:, :5], after[:, :5])
    assert not torch.allclose(model(x, y)[:, 5], after[:, 5])


def test_it_learns_to_use_an_example_of_one_unknown():
    tasks, model = LinearTasks(dim=1, noise=0.0), make(1, 3, 16)
    x, y = tasks.draw(1000, 3, rng(9))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    before = errors(model(x, y), y)
    for step in range(300):
        loss = model.loss(*tasks.draw(48, 3, rng(100 + step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = errors(model(x, y), y)
    assert before[-1] > 0.7
    assert after[0] > 0.7  # without an example nothing can be known
    assert after[-1] < 0.5 * after[0]


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        LinearTasks(dim=0)
    with pytest.raises(ValueError, match=r"noise must be at least 0, got -1.0"):
        LinearTasks(noise=-1.0)
    x, y = LinearTasks(dim=2).draw(1, 7, rng())
    with pytest.raises(ValueError, match="pairs must be at most 6, got 7"):
        make()(x, y)
