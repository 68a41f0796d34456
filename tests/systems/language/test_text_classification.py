import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from tests.systems.language.published import spread, tokens

from orrery.systems.language.bert import Bert, BertConfig
from orrery.systems.language.text_classification import (
    TextClassificationConfig,
    TextClassifier,
    confusion,
)

SIZES = {
    "vocab": 13, "context": 9, "depth": 3, "heads": 2, "width": 8, "inner": 12, "dropout": 0.1,
}  # fmt: skip


def make(seed=0, **changes):
    torch.manual_seed(seed)
    config = TextClassificationConfig(**changes)
    return TextClassifier(spread(Bert(BertConfig(**SIZES))).double(), config).double().eval()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 5))
def test_scores_come_from_the_mean_of_what_counts(batch, length, classes):
    model, ids = make(classes=classes), tokens(batch, length)
    seen = torch.ones_like(ids)
    seen[0, 1 + length // 2 :] = 0
    states = model.encoder(ids, seen)
    means = torch.stack([row[mask == 1].mean(0) for row, mask in zip(states, seen, strict=True)])
    found = model(ids, seen).logits
    assert found.shape == (batch, classes)
    torch.testing.assert_close(found, means @ model.classify.weight.T + model.classify.bias)


def test_padding_behind_a_text_changes_nothing():
    model, ids, labels = make(), tokens(1, 9), torch.tensor([1])
    seen = torch.ones_like(ids)
    seen[:, 5:] = 0
    torch.testing.assert_close(model(ids, seen).logits, model(ids[:, :5]).logits)
    torch.testing.assert_close(model.loss(ids, labels, seen), model.loss(ids[:, :5], labels))


def test_each_layer_learns_more_slowly_than_the_one_above():
    model = make(rate=0.1, decay=0.5, new_rate=2.0)
    groups = model.rates()
    assert [group["lr"] for group in groups] == pytest.approx([2.0, 0.1, 0.05, 0.025, 0.0125])
    counted = [weight for group in groups for weight in group["params"]]
    assert len({*counted}) == len(counted) == len([*model.parameters()])  # each weight once
    tops = [{*map(id, group["params"])} for group in groups]
    assert id(model.classify.weight) in tops[0]
    assert id(model.encoder.layers[-1].attention.qkv.weight) in tops[1]
    assert id(model.encoder.layers[0].attention.qkv.weight) in tops[3]
    assert id(model.encoder.embed.weight) in tops[4]


def step(model, ids, labels, optimiser):
    loss = model.loss(ids, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def test_a_frozen_encoder_neither_learns_nor_drops():
    model, ids = make(frozen=True, dropout=0.0), tokens(4)
    before = {name: weight.clone() for name, weight in model.encoder.state_dict().items()}
    model.train()
    torch.testing.assert_close(model(ids).logits, model(ids).logits, rtol=0, atol=0)
    optimiser = torch.optim.AdamW(model.rates(), weight_decay=0.1)
    first = step(model, ids, torch.tensor([0, 1, 0, 1]), optimiser)
    for _ in range(20):
        last = step(model, ids, torch.tensor([0, 1, 0, 1]), optimiser)
    assert last < first
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(weight, before[name])
    tuned = make().train()
    assert not torch.equal(tuned(ids).logits, tuned(ids).logits)


def twins(size, seed):
    """Class 1 where a text has some token twice in a row: no linear layer on words can tell."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(1, 13, (size, 6), generator=generator)
    labels = torch.arange(size) % 2
    steps[labels == 1, 3] = 0
    return steps.cumsum(1) % 13, labels


def test_fine_tuning_learns_what_a_probe_of_the_same_encoder_cannot():
    ids, labels = twins(32, 0)
    right = {}
    for frozen in (True, False):
        torch.manual_seed(0)
        encoder = Bert(BertConfig(**SIZES | {"dropout": 0.0, "width": 16, "depth": 2}))
        config = TextClassificationConfig(
            dropout=0.0, rate=5e-3, decay=1.0, new_rate=2e-2, frozen=frozen
        )
        model = TextClassifier(encoder, config)
        optimiser = torch.optim.AdamW(model.rates())
        losses = [step(model, ids, labels, optimiser) for _ in range(70)]
        assert losses[0] > 0.6
        right[frozen] = float((model(ids).logits.argmax(1) == labels).float().mean())
    assert right[False] == 1
    assert right[True] < 0.95


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.lists(st.integers(0, 1 << 20), max_size=30))
def test_confusion_counts_rows_of_what_is_and_columns_of_what_was_said(classes, drawn):
    labels = torch.tensor(drawn, dtype=torch.long) % classes
    said = torch.tensor(drawn, dtype=torch.long) // classes % classes
    counts = confusion(said, labels, classes)
    assert counts.sum() == len(drawn)
    if drawn:
        known = confusion_matrix(labels, said, labels=[*range(classes)])
        assert counts.tolist() == known.tolist()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"decay": 0.0}, r"decay must be in \(0, 1\], got 0.0"),
        ({"rate": 0.0}, "rate must be above 0, got 0.0"),
        ({"new_rate": -1.0}, "new_rate must be above 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        TextClassificationConfig(**bad)


def test_a_class_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"classes must be in \[0, 2\), got 0 to 2"):
        confusion(torch.tensor([0, 2]), torch.tensor([0, 1]), 2)
