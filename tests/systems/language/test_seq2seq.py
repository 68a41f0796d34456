import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.language.seq2seq import Seq2Seq, Seq2SeqConfig

SIZES = {"source_vocab": 9, "target_vocab": 7, "width": 6}


def make(**changes):
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(**{**SIZES, **changes})).double()
    for p in model.parameters():
        p.data.mul_(2)
    return model


def tokens(vocab, *shape, seed=1):
    return torch.randint(3, vocab, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
def test_it_is_two_lstms_of_torch_joined_by_their_state():
    model, source, target = make(depth=2), tokens(9, 3, 5), tokens(7, 3, 4)
    reader, writer = (nn.LSTM(6, 6, 2, batch_first=True).double() for _ in "ab")
    reader.load_state_dict(model.reader.state_dict())
    writer.load_state_dict(model.writer.state_dict())
    _, state = reader(model.embed_source(source.flip(1)))
    outputs, _ = writer(model.embed_target(target), state)
    logits = model(source, target)
    assert logits.std() > 0.3
    torch.testing.assert_close(logits, model.out(outputs))


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 3), source=st.integers(1, 5), target=st.integers(2, 5),
    depth=st.integers(1, 2),
)  # fmt: skip
def test_writing_word_by_word_is_writing_at_once(batch, source, target, depth):
    model = make(depth=depth)
    read, written = tokens(9, batch, source), tokens(7, batch, target)
    whole = model(read, written)
    assert whole.shape == (batch, target, 7)
    first, state = model.write(model.read(read), written[:, :1])
    rest, _ = model.write(state, written[:, 1:])
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    rows = torch.arange(batch).flip(0)
    turned, _ = model.write(model.read(read).select(rows), written[rows])
    torch.testing.assert_close(turned, whole[rows])


def test_a_later_word_never_changes_an_earlier_score_and_every_source_word_counts():
    model, source, target = make(), tokens(9, 1, 4), tokens(7, 1, 4)
    before, changed = model(source, target), target.clone()
    changed[:, 2:] = 0
    torch.testing.assert_close(model(source, changed)[:, :2], before[:, :2])
    for j in range(4):
        other = source.clone()
        other[:, j] = (other[:, j] + 1) % 9
        assert not torch.allclose(model(other, target)[:, 0], before[:, 0])


def test_padding_is_not_scored():
    model, source, target = make(), tokens(9, 2, 4), tokens(7, 2, 4)
    after = tokens(7, 2, 4, seed=2)
    short = after.clone()
    short[:, 3] = 0
    torch.testing.assert_close(
        model.loss(source, target, short), model.loss(source, target[:, :3], after[:, :3])
    )


def test_four_words_are_learnt_backwards():
    source = tokens(9, 16, 4)
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(source_vocab=9, target_vocab=9, width=48))
    after = source.flip(1)
    target = torch.cat([torch.ones(16, 1).long(), after[:, :-1]], dim=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(80):
        loss = model.loss(source, target, after)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.1
    assert (model.greedy(source, 4, start=1) == after).float().mean() > 0.95


@pytest.mark.parametrize("name", ["source_vocab", "target_vocab", "width", "depth"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Seq2SeqConfig(**{name: 0})
    with pytest.raises(ValueError, match="dropout must be in"):
        Seq2SeqConfig(dropout=1.0)
