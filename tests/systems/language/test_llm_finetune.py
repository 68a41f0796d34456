import pytest
import torch
import torch.nn.functional as F
from tests.systems.language.published import spread, tokens
from tests.systems.language.tuned import SIZES, llama, tuned

from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.llm_finetune import (
    FinetuneConfig,
    answer_loss,
    held_out_loss,
    learning_share,
    maps,
    prepare,
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_bad_configs_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        FinetuneConfig(**changed)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "roj", "norm"])
def test_what_is_no_map_of_the_blocks_gets_no_adapter(target):
    with pytest.raises(ValueError, match=r"targets must be maps of the blocks \(.*q_proj"):
        prepare(llama(), FinetuneConfig(targets=("q_proj", target)))


def test_maps_have_their_rows():
    found = maps(llama())
    assert len(found) == 2 * 7
    attention = "model.layers.1.self_attn."
    assert [found[f"{attention}{letter}_proj"][1] for letter in "qkv"] == [
        range(8), range(8, 12), range(12, 16)
    ]  # fmt: skip
    assert found["model.layers.0.mlp.up_proj"] == ("blocks.0.feed_forward.gate_up", range(6, 12))
    assert maps(tuned(llama())) == found  # adapters hide nothing


def test_shares_and_what_learns():
    model = llama()
    total = sum(p.numel() for p in model.parameters())
    assert len(prepare(model, FinetuneConfig(method="full"))) == len(list(model.parameters()))
    assert learning_share(model) == 1
    learning = prepare(model, FinetuneConfig(rank=3, targets=("q_proj", "down_proj")))
    count = 2 * 3 * ((8 + 8) + (6 + 8))
    assert sum(p.numel() for p in learning) == count
    assert learning_share(model) == count / total


def test_untrained_adapters_change_nothing():
    model, ids = llama(), tokens()
    before = model(ids).logits
    prepare(model, FinetuneConfig(rank=2))
    assert torch.equal(model(ids).logits, before)


def test_only_answers_count():
    model, ids = llama(), tokens()
    answers = torch.zeros_like(ids)
    answers[0, 3:6] = answers[1, [0, 8]] = 1  # the first token has nothing before it
    scores = model(ids).logits.log_softmax(-1)
    places = [(0, 3), (0, 4), (0, 5), (1, 8)]
    expected = -torch.stack([scores[b, t - 1, ids[b, t]] for b, t in places]).mean()
    torch.testing.assert_close(answer_loss(model, ids, answers), expected)
    padded = F.pad(ids, (0, 4), value=7)
    torch.testing.assert_close(answer_loss(model, padded, F.pad(answers, (0, 4))), expected)
    with pytest.raises(ValueError, match="answers must mark a token"):
        answer_loss(model, ids, torch.zeros_like(ids))


def test_held_out_loss_is_the_mean_whatever_the_batch():
    model, ids = tuned(llama(), dropout=0.5).train(), tokens(5)
    expected = model.eval().loss(ids[:, :-1], ids[:, 1:]).item()
    model.train()
    for batch in (1, 2, 5):
        found = held_out_loss(model, ids[:, :-1], ids[:, 1:], batch=batch)
        assert found == pytest.approx(expected, abs=1e-12)
    assert model.training


def test_low_rank_learns_one_batch_and_leaves_the_weights_alone():
    torch.manual_seed(0)
    model, ids = Llama(LlamaConfig(**{**SIZES, "width": 32}, inner=48)).double(), tokens()
    spread(model, 0.2)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    learning = prepare(model, FinetuneConfig(rank=8))
    optimiser = torch.optim.Adam(learning, lr=0.03)
    losses = []
    for _ in range(60):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.4
    assert losses[-1] < 0.2
    after = {name.replace(".base", ""): p for name, p in model.state_dict().items()}
    assert all(torch.equal(after[name], p) for name, p in before.items())
