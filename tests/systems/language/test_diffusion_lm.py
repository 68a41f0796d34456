import pytest
import torch

from orrery.systems.language.bert import BertConfig, BertMaskedLm
from orrery.systems.language.diffusion_lm import bound, draw, loss, surprise

MASK = 3  # the vocabulary is 0, 1, 2 and the mask


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def joint(length=4):
    """A random distribution of all texts, and a model that knows it exactly."""
    texts = torch.cartesian_prod(*[torch.arange(3)] * length)
    chances = torch.rand(len(texts), generator=rng(1)).double() ** 3
    chances /= chances.sum()

    def score(tokens):
        fits = (tokens[:, None] == texts) | (tokens[:, None] == MASK)
        weights = chances * fits.all(dim=-1)  # b, texts
        found = torch.zeros(*tokens.shape, 4, dtype=torch.float64)
        for token in range(3):
            found[..., token] = weights @ (texts == token).double()
        return (found / found.sum(dim=-1, keepdim=True)).log()

    return texts, chances, score


def test_of_the_true_model_the_bound_is_the_likelihood():
    """Brought back in any order, the chances of a text's tokens multiply to its own."""
    texts, chances, score = joint()
    torch.testing.assert_close(
        bound(score, texts, MASK).double(), -chances.log(), rtol=1e-4, atol=1e-4
    )


def test_of_another_model_it_lies_above_it():
    texts, chances, score = joint()

    def worse(tokens):
        return 0.5 * score(tokens).clamp(min=-20)

    found = (chances * bound(worse, texts, MASK)).sum()
    assert found > -(chances * chances.log()).sum() + 0.05


def test_the_loss_is_the_bound_on_average():
    texts, chances, score = joint()
    row = texts[chances.argmax()][None]
    many = row.expand(4_000, -1)
    found = loss(score, many, MASK, rng()) * row.shape[1]
    assert float(found) == pytest.approx(float(bound(score, row, MASK)), rel=0.05)


def test_only_what_is_hidden_is_scored_and_never_as_a_mask():
    tokens = torch.tensor([[0, 1, 2, 0]])
    hidden = torch.tensor([[True, False, False, True]])
    found = surprise(lambda x: torch.zeros(*x.shape, 4), tokens, hidden, MASK)
    torch.testing.assert_close(found, torch.tensor([[3.0, 1.0, 1.0, 3.0]]).log())


def histogram(texts, drawn):
    same = (drawn[:, None] == texts).all(dim=-1)
    return same.double().mean(dim=0)


def test_as_many_steps_as_one_likes_draw_from_the_distribution_and_one_step_does_not():
    """In one step each token is drawn without knowing the others."""
    texts, chances, score = joint(3)
    off = {}
    for steps in (1, 30):
        drawn = draw(score, (6_000, 3), MASK, steps, rng())
        off[steps] = float((histogram(texts, drawn) - chances).abs().sum() / 2)
    assert off[30] < 0.06
    assert off[1] > 0.15


def test_confident_draws_settle_an_equal_share_at_each_step():
    counts = []

    def score(tokens):
        counts.append(int((tokens == MASK).sum(dim=1)[0]))
        return torch.randn(*tokens.shape, 4, generator=rng(len(counts)))

    drawn = draw(score, (2, 8), MASK, 4, rng(), confident=True)
    assert counts == [8, 6, 4, 2]
    assert not (drawn == MASK).any()
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        draw(score, (2, 8), MASK, 0, rng())


def test_it_learns_a_small_language():
    """Texts that are the same token over and over: bad before, good after."""
    torch.manual_seed(0)
    model = BertMaskedLm(BertConfig(
        vocab=4, context=6, depth=1, heads=2, width=16, inner=32, dropout=0.0, padding=None,
    ))  # fmt: skip
    texts = torch.arange(3)[:, None].expand(3, 6)

    def score(tokens):
        return model(tokens).logits

    optimiser, before = torch.optim.Adam(model.parameters(), lr=0.01), bound(score, texts, MASK)
    for step in range(150):
        found = loss(score, texts.repeat(8, 1), MASK, rng(step))
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    after = bound(score, texts, MASK)
    assert before.mean() > 5
    assert after.mean() < 1.5  # the entropy is log 3
    drawn = draw(score, (60, 6), MASK, 60, rng())
    at_once = draw(score, (60, 6), MASK, 1, rng())
    assert (drawn == drawn[:, :1]).all(dim=1).float().mean() > 0.8
    assert (at_once == at_once[:, :1]).all(dim=1).float().mean() < 0.2
