import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.language.attention_bahdanau import BahdanauAttention
from orrery.systems.language.seq2seq import Seq2SeqConfig

SIZES = {"source_vocab": 9, "target_vocab": 7, "width": 6}


def make(attends=True, **changes):
    torch.manual_seed(0)
    model = BahdanauAttention(Seq2SeqConfig(**{**SIZES, **changes}), attends=attends).double()
    for p in model.parameters():
        p.data.mul_(2)
    return model


def tokens(vocab, *shape, seed=1):
    return torch.randint(3, vocab, shape, generator=torch.Generator().manual_seed(seed))


def by_hand(model, source, target):
    """The equations, with torch's own GRUs and one sum a word."""
    reader = nn.GRU(6, 6, batch_first=True, bidirectional=True).double()
    reader.load_state_dict(model.reader.state_dict())
    cell = nn.GRUCell(18, 6).double()
    weights = {k.removesuffix("_l0"): v for k, v in model.writer.state_dict().items()}
    cell.load_state_dict(weights)
    said, _ = reader(model.embed_source(source))
    s = (said[:, 0, 6:] @ model.begin.weight.T + model.begin.bias).tanh()
    score, logits, alignment = model.attention, [], []
    for word in model.embed_target(target).unbind(1):
        scores = torch.stack([
            (s @ score.query.weight.T + score.query.bias + a @ score.key.weight.T).tanh()
            @ score.score.weight[0] for a in said.unbind(1)
        ], dim=1)  # fmt: skip
        w = scores.exp() / scores.exp().sum(1, keepdim=True)
        m = sum(w[:, j : j + 1] * said[:, j] for j in range(said.shape[1]))
        s = cell(torch.cat([word, m], dim=1), s)
        logits.append(model.out(torch.cat([s, m, word], dim=1)))
        alignment.append(w)
    return torch.stack(logits, 1), torch.stack(alignment, 1)


@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 3), source=st.integers(1, 5), target=st.integers(1, 4))
def test_it_is_the_papers_equations(batch, source, target):
    model, read, written = make(), tokens(9, batch, source), tokens(7, batch, target)
    found = model(read, written)
    logits, alignment = by_hand(model, read, written)
    torch.testing.assert_close(found.logits, logits)
    torch.testing.assert_close(found.alignment, alignment)


def test_weights_sum_to_one_and_depend_on_what_was_written():
    model, source = make(), tokens(9, 2, 5)
    one, two = (model(source, tokens(7, 2, 4, seed=seed)).alignment for seed in (1, 2))
    torch.testing.assert_close(one.sum(-1), torch.ones(2, 4).double())
    assert not torch.allclose(one[:, -1], two[:, -1])


def test_without_attention_every_word_weighs_the_same():
    found = make(attends=False)(tokens(9, 2, 5), tokens(7, 2, 4))
    torch.testing.assert_close(found.alignment, torch.full((2, 4, 5), 0.2).double())


def test_writing_word_by_word_is_writing_at_once_and_rows_are_alone():
    model, source, target = make(), tokens(9, 3, 4), tokens(7, 3, 5)
    whole, state = model(source, target).logits, model.read(source)
    parts = []
    for t in range(5):
        logits, state = model.write(state, target[:, t : t + 1])
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    rows = torch.tensor([2, 0, 0])
    logits, _ = model.write(model.read(source).select(rows), target[rows])
    torch.testing.assert_close(logits, whole[rows])


def test_six_words_are_learnt_backwards_and_the_alignment_runs_backwards():
    source = tokens(9, 64, 6)
    torch.manual_seed(0)
    model = BahdanauAttention(Seq2SeqConfig(source_vocab=9, target_vocab=9, width=32))
    after = source.flip(1)
    target = torch.cat([torch.ones(64, 1).long(), after[:, :-1]], dim=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(90):
        loss = model.loss(source, target, after)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.2
    looked = model(source, target).alignment.mean(0).argmax(-1)
    assert (looked - torch.arange(5, -1, -1)).abs().float().mean() < 1.5
