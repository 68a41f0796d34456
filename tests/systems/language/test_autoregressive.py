import math

import numpy as np
import pytest
import torch

from orrery.systems.language.autoregressive import loss_by_position, perplexity, sample, surprise
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.lstm_lm import LstmLm, LstmLmConfig
from orrery.systems.language.ngram import Ngram, NgramConfig

VOCAB = 6


def counts():
    text = np.random.default_rng(0).integers(VOCAB, size=500)
    return Ngram(NgramConfig(vocab=VOCAB, order=3), text)


def recurrent():
    torch.manual_seed(0)
    return LstmLm(LstmLmConfig(vocab=VOCAB, width=8, depth=1)).double()


def transformer():
    torch.manual_seed(0)
    return Gpt(GptConfig(vocab=VOCAB, context=16, depth=1, heads=1, width=8)).double()


every = pytest.mark.parametrize("make", [counts, recurrent, transformer])
TOKENS = torch.randint(VOCAB, (3, 9), generator=torch.Generator().manual_seed(0))


@every
def test_the_chance_of_a_text_is_the_product_of_its_next_token_chances(make):
    model = make()
    nats = surprise(model, TOKENS)
    assert nats.shape == (3, 8)
    for row in range(3):
        for t in range(1, 9):
            chance = model.log_probabilities(TOKENS[row : row + 1, :t])[0, -1, TOKENS[row, t]]
            assert float(nats[row, t - 1]) == pytest.approx(-chance.item(), rel=1e-9)


@every
def test_all_texts_of_one_length_share_the_whole_chance(make):
    tails = torch.cartesian_prod(*[torch.arange(VOCAB)] * 3)
    texts = torch.cat([TOKENS[:1, :2].expand(len(tails), 2), tails], dim=1)
    total = (-surprise(make(), texts)[:, 1:].sum(dim=1)).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-9)


@every
def test_perplexity_and_positions_are_means_of_the_same_losses(make):
    model = make()
    nats = surprise(model, TOKENS)
    assert perplexity(model, TOKENS) == pytest.approx(math.exp(float(nats.mean())), rel=1e-9)
    torch.testing.assert_close(loss_by_position(model, TOKENS), nats.mean(dim=0))


@every
def test_samples_follow_the_chances(make):
    model, prompt = make(), TOKENS[:1, :3].repeat(3000, 1)
    drawn = sample(model, prompt, 2, generator=torch.Generator().manual_seed(1))
    assert drawn.shape == (3000, 5)
    assert torch.equal(drawn[:, :3], prompt)
    shares = drawn[:, 3].bincount(minlength=VOCAB).double() / 3000
    chances = model.log_probabilities(prompt[:1])[0, -1].exp()
    assert (shares - chances).abs().max() < 0.04
