import pytest
import torch
from torch import nn

from orrery.systems.language.attention_luong import LuongAttention, LuongScore
from orrery.systems.language.seq2seq import Seq2SeqConfig

SCORES = ("dot", "general", "concat")


def make(score):
    torch.manual_seed(0)
    config = Seq2SeqConfig(source_vocab=9, target_vocab=7, width=6, depth=2)
    model = LuongAttention(config, score).double()
    for p in model.parameters():
        p.data.mul_(2)
    return model


def tokens(vocab, *shape, seed=1):
    return torch.randint(3, vocab, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("score", SCORES)
def test_it_is_the_papers_equations(score):
    model, source, target = make(score), tokens(9, 2, 5), tokens(7, 2, 4)
    reader, writer = (nn.LSTM(6, 6, 2, batch_first=True).double() for _ in "ab")
    reader.load_state_dict(model.reader.state_dict())
    writer.load_state_dict(model.writer.state_dict())
    said, state = reader(model.embed_source(source))
    outputs, _ = writer(model.embed_target(target), state)
    logits = torch.empty(2, 4, 7).double()
    for b in range(2):
        for t in range(4):
            h = outputs[b, t]
            scores = torch.stack([scored(model.score, h, a) for a in said[b]])
            m = scores.softmax(0) @ said[b]
            logits[b, t] = model.out(model.combine(torch.cat([m, h])).tanh())
    torch.testing.assert_close(model(source, target), logits)


def scored(score, h, a):
    if score.score == "dot":
        return h @ a
    if score.score == "general":
        return h @ score.matrix.weight @ a
    return score.vector.weight[0] @ (score.mix.weight @ torch.cat([h, a])).tanh()


def test_dot_is_general_with_the_identity():
    dot, general = LuongScore(6, "dot"), LuongScore(6, "general")
    nn.init.eye_(general.matrix.weight)
    h, a = torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    torch.testing.assert_close(dot(h, a), general(h, a))


@pytest.mark.parametrize("score", SCORES)
def test_writing_word_by_word_is_writing_at_once(score):
    model, source, target = make(score), tokens(9, 3, 4), tokens(7, 3, 5)
    whole, state = model(source, target), model.read(source)
    first, state = model.write(state, target[:, :2])
    rest, _ = model.write(state, target[:, 2:])
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    rows = torch.tensor([2, 0, 0])
    logits, _ = model.write(model.read(source).select(rows), target[rows])
    torch.testing.assert_close(logits, whole[rows])


def test_six_words_are_learnt_backwards():
    source = tokens(9, 64, 6)
    torch.manual_seed(0)
    model = LuongAttention(Seq2SeqConfig(source_vocab=9, target_vocab=9, width=32))
    after = source.flip(1)
    target = torch.cat([torch.ones(64, 1).long(), after[:, :-1]], dim=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        loss = model.loss(source, target, after)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.2
