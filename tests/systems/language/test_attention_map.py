import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from orrery.systems.language.attention_map import (
    attention_maps,
    effect_of,
    rank_correlation,
    weight_of,
)
from orrery.systems.language.gpt import Gpt, GptConfig

VOCAB = 7


def make(context=6):
    torch.manual_seed(0)
    model = Gpt(GptConfig(vocab=VOCAB, context=context, depth=2, heads=2, width=8)).double()
    model.requires_grad_(False)
    for p in model.parameters():
        p.mul_(12)
    return model


TOKENS = torch.randint(VOCAB, (3, 6), generator=torch.Generator().manual_seed(0))


def test_maps_are_causal_and_their_rows_sum_to_one():
    maps = attention_maps(make(), TOKENS)
    assert maps.shape == (2, 3, 2, 6, 6)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 3, 2, 6, dtype=torch.float64))
    assert torch.equal(maps, maps.tril())


def test_the_weight_of_a_token_is_its_mean_over_layers_and_heads():
    model = make()
    maps, weight = attention_maps(model, TOKENS), weight_of(model, TOKENS)
    for row in range(3):
        for s in range(6):
            values = [maps[layer, row, head, 5, s] for layer in range(2) for head in range(2)]
            torch.testing.assert_close(weight[row, s], torch.stack(values).mean())


def test_the_effect_of_a_token_is_the_mean_divergence_after_replacing_it():
    model, substitutes = make(), torch.tensor([0, 3])
    effect = effect_of(model, TOKENS, substitutes)
    before = model.log_probabilities(TOKENS)[:, -1]
    for row in range(3):
        for s in range(6):
            moves = []
            for other in substitutes:
                changed = TOKENS[row : row + 1].clone()
                changed[0, s] = other
                after = model.log_probabilities(changed)[0, -1]
                moves.append((before[row].exp() * (before[row] - after)).sum())
            torch.testing.assert_close(effect[row, s], torch.stack(moves).mean())


def test_a_token_replaced_by_itself_has_no_effect():
    same = torch.full((1, 6), 2)
    assert effect_of(make(), same, torch.tensor([2])).abs().max() < 1e-12


@pytest.mark.parity
def test_rank_correlation_is_the_one_of_scipy():
    a, b = torch.randn(2, 5, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b).numpy(), expected, rtol=1e-12)
    assert float(rank_correlation(a, -a).max()) == pytest.approx(-1.0)


def test_in_a_trained_model_the_token_that_is_copied_has_the_most_weight_and_the_most_effect():
    """The next token is the first of the row: replacing the most-weighted token must show it."""
    torch.manual_seed(0)
    model = Gpt(GptConfig(vocab=VOCAB, context=6, depth=1, heads=1, width=32))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(2)
    for _ in range(150):
        tokens = torch.randint(VOCAB, (32, 6), generator=generator)
        loss = torch.nn.functional.cross_entropy(model(tokens).logits[:, -1], tokens[:, 0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    tokens = torch.randint(VOCAB, (20, 6), generator=generator)
    most = weight_of(model, tokens).argmax(dim=1)
    assert (most == 0).all()
    effect = effect_of(model, tokens, torch.arange(VOCAB))
    assert effect.amax(dim=1).min() > 1  # nats; a tie of nothings would have its first at 0
    assert (effect.argmax(dim=1) == most).all()
