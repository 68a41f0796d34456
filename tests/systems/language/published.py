"""What tests of published models share: weights, tokens, and what must hold of all of them."""

import torch

import orrery
from orrery.nn.key_value_cache import KeyValueCache

VOCAB = 13


def spread(model, std=0.5):
    """Weights under which outputs spread near 1: else a missing factor would not show."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * (std if p.ndim == 2 else 0.3) + (p.ndim == 1))
    return model.eval()


def tokens(batch=2, length=9):
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(1))


def check_cache(model, ids, pieces):
    """Read piece by piece through a cache, a text gives what it gives read at once."""
    cache, start, parts = KeyValueCache(), 0, []
    for piece in [*pieces, ids.shape[1]]:
        part = ids[:, start : start + piece]
        start += piece
        if part.shape[1]:
            parts.append(model(part, cache=cache).logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids).logits)


def check_causal(model, ids, changed=4):
    """A later token changes no earlier output, to the last bit, and changes its own."""
    before, other = model(ids).logits, ids.clone()
    other[:, changed] = (ids[:, changed] + 1) % VOCAB
    after = model(other).logits
    assert torch.equal(after[:, :changed], before[:, :changed])
    assert not torch.allclose(after[:, changed:], before[:, changed:])


def check_learns_by_heart(model, ids):
    """One batch: bad before, good after."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(120):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.4
    assert losses[-1] < 0.1


def check_both_ways(theirs, folder, given, fields, maps=""):
    """Loaded from what transformers has saved, ours gives the same; and saved by ours, theirs does.

    `maps` is their name for the attention weights that ours gives, if those are compared.
    """
    theirs.save_pretrained(folder / "theirs")
    ours = orrery.load(folder / "theirs")
    ours.save_pretrained(folder / "ours")
    again = type(theirs).from_pretrained(folder / "ours", dtype="float64")(**given)
    expected, output = theirs(**given, output_attentions=bool(maps)), ours(**given)
    for field in fields:
        torch.testing.assert_close(getattr(output, field), getattr(expected, field))
        torch.testing.assert_close(getattr(again, field), getattr(output, field))
    if maps:
        pairs = zip(ours(**given, maps=True).maps, getattr(expected, maps), strict=True)
        for own, their in pairs:
            torch.testing.assert_close(own, their, atol=1e-6, rtol=1e-6)


def check_fills_gaps(model, ids, *, mask=12, steps=150):
    """One batch of masked texts: bad before, good after."""
    hidden = torch.rand(ids.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    corrupted, targets = ids.masked_fill(hidden, mask), ids.masked_fill(~hidden, -100)
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(steps):
        loss = model.loss(corrupted, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.2
    assert losses[-1] < 0.2


def pair_of_texts():
    """What an encoder-decoder reads: two sources and two targets, one of each padded behind."""
    ids, target = tokens(2, 9).clamp(min=3), tokens(2, 11)
    mask, own = torch.ones_like(ids), torch.ones_like(target)
    mask[1, 6:] = own[0, 8:] = 0
    return {
        "input_ids": ids, "attention_mask": mask, "decoder_input_ids": target,
        "decoder_attention_mask": own,
    }  # fmt: skip


WAYS_TO_WRITE = (
    {},
    {"num_beams": 3},
    {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
)


def check_writes_the_same(theirs, folder, options):
    """Greedily and with beams, an encoder-decoder writes token for token what theirs writes."""
    theirs.save_pretrained(folder)
    ids, mask, *_ = pair_of_texts().values()
    expected = theirs.generate(ids, attention_mask=mask, do_sample=False, **options)
    assert torch.equal(orrery.load(folder).generate(ids, mask, **options), expected)
