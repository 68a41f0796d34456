import pytest
import torch

from orrery.systems.language.nar_decoding import (
    MaskPredict,
    MaskPredictConfig,
    repetitions,
    some_of,
)
from orrery.systems.language.transformer import TransformerConfig

PADDING, MASK = 0, 1


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make(**changes):
    torch.manual_seed(0)
    sizes = {"vocab": 12, "depth": 1, "heads": 2, "width": 16, "inner": 32, "dropout": 0.0}
    return MaskPredict(MaskPredictConfig(
        sizes=TransformerConfig(**{**sizes, **changes}), mask=MASK, longest=8
    ))  # fmt: skip


def learn(model, source, target, steps):
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for step in range(steps):
        loss = model.loss(source, target, rng(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_where_two_translations_are_as_likely_one_pass_mixes_them_and_more_do_not():
    """One source, two targets: 4 5 4 5 and 5 4 5 4. By itself each place is a toss-up."""
    model = make()
    source = torch.full((16, 2), 3)
    target = torch.tensor([[4, 5, 4, 5], [5, 4, 5, 4]]).repeat(8, 1)
    learn(model, source, target, 150)
    model.eval()
    memory = model.encode(source[:1])
    blank = torch.full((1, 4), MASK)
    alone = model.decode(blank, memory, source[:1]).softmax(dim=-1)[0, :, 4:6]
    assert (alone - 0.5).abs().max() < 0.12  # what one pass has to choose from
    first = blank.clone()
    first[0, 0] = 4
    knowing = model.decode(first, memory, source[:1]).softmax(dim=-1)[0, 1]
    assert knowing[5] > 0.95  # once a word is settled the others follow
    written = model.generate(source[:1], 4)
    assert repetitions(written, PADDING) == 0
    assert written.tolist()[0] in target.tolist()


def test_it_learns_a_translation_and_its_length():
    model = make(width=32, inner=64)
    source = torch.randint(2, 12, (6, 5), generator=rng(3))
    target = source.flip(1).clone()
    source[:3, 4] = PADDING
    target[:3] = torch.cat([source[:3, :4].flip(1), torch.zeros(3, 1, dtype=torch.long)], dim=1)
    losses = learn(model, source, target, 250)
    assert losses[0] > 3.5
    assert losses[-1] < 0.3
    for passes in (1, 3):
        assert torch.equal(model.eval().generate(source, passes), target)


def test_padding_of_source_and_target_changes_nothing():
    model = make().eval()
    source, target = torch.tensor([[3, 4, 5]]), torch.tensor([[6, MASK, 7]])
    want = model.decode(target, model.encode(source), source)
    longer = torch.tensor([[3, 4, 5, PADDING, PADDING]])
    padded = torch.tensor([[6, MASK, 7, PADDING]])
    found = model.decode(padded, model.encode(longer), longer)[:, :3]
    torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        model.lengths(longer, model.encode(longer)), model.lengths(source, model.encode(source)),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_each_pass_hides_fewer_and_no_mask_is_left():
    model = make().eval()
    seen, decode = [], model.decode

    def watched(target, memory, source):
        seen.append(int((target == MASK).sum()))
        return decode(target, memory, source)

    model.decode = watched
    found = model.generate(torch.tensor([[3, 4]]), 4, lengths=torch.tensor([8]))
    assert seen == [8, 6, 4, 2]
    assert found.shape == (1, 8)
    assert not ((found == MASK) | (found == PADDING)).any()


def test_from_one_to_all_words_are_hidden_each_number_as_often():
    real = torch.tensor([[True] * 4 + [False]]).expand(8_000, -1)
    hidden = some_of(real, rng())
    assert not hidden[:, 4].any()
    share = torch.bincount(hidden.sum(dim=1), minlength=5) / 8_000
    torch.testing.assert_close(share, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]), atol=0.02, rtol=0)


def test_repetitions_are_counted_between_real_words():
    tokens = torch.tensor([[4, 4, 5, 0, 0], [6, 7, 7, 7, 8]])
    assert repetitions(tokens, PADDING) == pytest.approx(3 / 6)


def test_bad_arguments_are_refused():
    sizes = TransformerConfig(vocab=12, depth=1, heads=1, width=4, inner=4)
    with pytest.raises(ValueError, match="mask must be a token and not padding=0, got 0"):
        MaskPredictConfig(sizes=sizes, mask=0)
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        MaskPredictConfig(sizes=sizes, mask=1, longest=0)
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        make().generate(torch.tensor([[3]]), 0)
