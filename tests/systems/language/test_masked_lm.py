import pytest
import torch
import torch.nn.functional as F

from orrery.systems.language.bert import BertConfig, BertMaskedLm
from orrery.systems.language.masked_lm import (
    NOT_ASKED,
    MaskingConfig,
    corrupt,
    masked_accuracy,
)

CONFIG = MaskingConfig(vocab=50, mask=49)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def texts(rows=400, length=100):
    return torch.randint(40, (rows, length), generator=generator(9))


def test_the_shares_are_the_papers():
    tokens = texts()
    read, targets = corrupt(tokens, CONFIG, generator())
    asked = targets != NOT_ASKED
    assert float(asked.float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float((read == 49)[asked].float().mean()) == pytest.approx(0.8, abs=0.02)
    same = (read == tokens)[asked].float().mean()  # left alone, or replaced by itself
    assert float(same) == pytest.approx(0.1 + 0.1 / 50, abs=0.02)
    assert torch.equal(read[~asked], tokens[~asked])
    assert torch.equal(targets[asked], tokens[asked])


def test_special_tokens_are_never_chosen_and_each_draw_chooses_anew():
    tokens = texts(20, 20)
    special = tokens % 2 == 0
    draw = generator()
    first, second = (corrupt(tokens, CONFIG, draw, special=special) for _ in "ab")
    assert (first[1][special] == NOT_ASKED).all()
    assert not torch.equal(first[1], second[1])
    again = corrupt(tokens, CONFIG, generator(), special=special)
    assert torch.equal(again[0], first[0])


def test_loss_and_accuracy_see_only_what_was_asked():
    logits = torch.randn(2, 3, 5, generator=generator())
    targets = torch.tensor([[-100, 2, -100], [4, -100, -100]])
    expected = F.cross_entropy(torch.stack([logits[0, 1], logits[1, 0]]), torch.tensor([2, 4]))
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)
    logits[0, 1, 2] = logits[1, 0, 0] = 99
    assert float(masked_accuracy(logits, targets)) == 0.5
    with pytest.raises(ValueError, match="hold a token to be guessed"):
        masked_accuracy(logits, torch.full((2, 3), NOT_ASKED))


def test_what_stands_after_helps_to_guess_and_a_left_only_guess_cannot():
    """Each text is a pair of equal tokens; the first is hidden, only the second tells it."""
    torch.manual_seed(0)
    model = BertMaskedLm(BertConfig(vocab=9, context=2, depth=1, heads=1, width=16, inner=32,
                                    dropout=0.0))  # fmt: skip
    token = torch.arange(8).repeat(4)
    read = torch.stack([torch.full_like(token, 8), token], dim=1)
    targets = torch.stack([token, torch.full_like(token, NOT_ASKED)], dim=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    before = float(masked_accuracy(model(read).logits, targets))
    for _ in range(60):
        optimiser.zero_grad()
        model.loss(read, targets).backward()
        optimiser.step()
    assert before < 0.5
    assert float(masked_accuracy(model(read).logits, targets)) == 1
    blind = read.clone()
    blind[:, 1] = 8  # what is to the left of the hidden token alone: nothing
    assert float(masked_accuracy(model(blind).logits, targets)) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 0}, "vocab must be at least 1, got 0"),
        ({"mask": 50}, "mask must be from 0 to 49, got 50"),
        ({"chosen": 0.0}, r"chosen must be in \(0, 1\], got 0.0"),
        ({"masked": 0.8, "random": 0.3}, "at most 1 together, got masked=0.8, random=0.3"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        MaskingConfig(**{"vocab": 50, "mask": 49, **bad})
