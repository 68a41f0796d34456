"""What is taken out of the heads is what the model computes, and what the page shows."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.errors import UsageError
from orrery.lab.walkthrough.illustrated import (
    Reading,
    first_choice,
    read_by_heart,
    script_hash,
    write_illustrated,
)
from orrery.nn.post_norm import PostNormBlock
from orrery.systems.language.gpt1 import Gpt1, Gpt1Config
from orrery.systems.language.illustrated_transformer import (
    Insides,
    by_heart,
    look_inside,
    tokens_by_heart,
)
from orrery.systems.language.transformer import Transformer, TransformerConfig

SENTENCE = "The </script> animal was tired & it slept"
NAMES = ("q", "k", "v", "scores", "weights", "z")


@pytest.fixture(scope="module")
def reading():
    return read_by_heart(SENTENCE, steps=5)


@settings(max_examples=6, deadline=None)
@given(t=st.integers(1, 6), heads=st.sampled_from([1, 2, 4]), causal=st.booleans())
def test_the_steps_lead_to_what_the_layer_gives(t, heads, causal):
    torch.manual_seed(0)
    block = PostNormBlock(8, heads, 4).double().eval()
    x = torch.randn(1, t, 8, dtype=torch.float64)
    bias = torch.randn(1, 1, 1, t, dtype=torch.float64)
    given_back = []
    block.attention.register_forward_hook(lambda *stage: given_back.append(stage[-1]))
    seen = look_inside(block, lambda: block(x, bias, causal=causal))
    assert seen.q.shape == (1, heads, t, 8 // heads)
    joined = seen.z.transpose(1, 2).flatten(-2)
    torch.testing.assert_close(block.attention.out(joined), given_back[0])
    hand = torch.einsum("lhtk,lhsk->lhts", seen.q, seen.k) / (8 // heads) ** 0.5 + bias
    if causal:
        hand = hand.masked_fill(torch.ones(t, t).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(seen.scores, hand)
    torch.testing.assert_close(seen.weights, hand.softmax(dim=-1))


def test_maps_are_those_that_models_give():
    model = Gpt1(Gpt1Config(vocab=9, context=5, depth=3, heads=2, width=8)).eval()
    tokens = torch.tensor([[1, 5, 2, 7]])
    seen = look_inside(model, lambda: model(tokens))
    torch.testing.assert_close(seen.weights, torch.cat(model(tokens, maps=True).maps))


def test_attention_to_a_source_is_left_out_and_hooks_go_away():
    model = Transformer(TransformerConfig(vocab=9, depth=2, heads=2, width=8, inner=8)).eval()
    read = torch.tensor([[1, 2, 3]])
    assert look_inside(model, lambda: model(read, read)).q.shape[0] == 4  # not 6
    assert not any(one._forward_hooks for one in model.modules())


def test_what_cannot_be_shown_is_refused(reading):
    block = PostNormBlock(4, 1, 4)
    with pytest.raises(ValueError, match="read 1 text, got 2"):
        look_inside(block, lambda: block(torch.zeros(2, 3, 4)))
    with pytest.raises(ValueError, match="self-attention that runs"):
        look_inside(nn.Linear(1, 1), lambda: None)
    with pytest.raises(ValueError, match=r"at least 2 .* got 1"):
        by_heart(1)
    for sentence in ("", "word", "word " * 49):
        with pytest.raises(UsageError, match="2 to 48 tokens"):
            read_by_heart(sentence)


def test_the_small_model_learns_the_sentence():
    hidden = torch.eye(9, dtype=torch.bool)
    text = tokens_by_heart(9)
    losses = [
        by_heart(9, steps=n).loss(text.masked_fill(hidden, 0), text.masked_fill(~hidden, -100))
        for n in (0, 60)
    ]
    assert losses[0] > 2
    assert losses[1] < 0.1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_stands_alone_with_the_numbers_of_the_run(reading, language):
    html = write_illustrated(reading, language)
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    assert data["words"] == SENTENCE.split()
    for name in NAMES:
        found = np.frombuffer(base64.b64decode(data[name]), "<f4")
        expected = getattr(reading.insides, name)
        assert np.array_equal(found.reshape(expected.shape), expected.numpy())
    assert html.count("<img ") == 3 * 4
    assert html.count("aria-label=") > 3 * 4
    assert not re.search(r"(?:src|href)=\"(?!data:)[^\"]+\"|url\(|@import|\son\w+=", html)
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1
    assert f"script-src 'sha256-{script_hash(script[0])}'" in html
    assert "fetch(" not in script[0]


def test_it_begins_where_the_pronoun_looks_back():
    words = ("A", "dog", "ran", "as", "it", "was", "mad")
    weights = torch.full((2, 2, 7, 7), 0.1)
    weights[1, 0, 4, 1] = 0.5  # from "it" to "dog"
    weights[0, 1, 4, 6] = 0.9  # forward
    weights[0, 0, 4, 3] = 0.8  # to its neighbour
    weights[0, 0, 2, 6] = 0.9  # of another word
    insides = Insides(**dict.fromkeys(NAMES, weights))
    chosen = Reading(sentence="", words=words, insides=insides, model="by_heart")
    assert first_choice(chosen) == (1, 0, 4)
