"""What tests of published models share: weights, tokens, and what must hold of all of them."""

import torch

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
