import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.attention import padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import MultiHeadAttention
from orrery.nn.rolling_cache import RollingCache
from orrery.nn.rotary import turned
from orrery.nn.rotary_attention import GroupedQueryAttention


def make(heads=4, groups=2, size=4, dropout=0.0):
    torch.manual_seed(0)
    return GroupedQueryAttention(8, heads, groups, size, bias=True, dropout=dropout).double()


def turns_of(places, size=4):
    angles = places[:, None] * torch.tensor([1.0, 0.1], dtype=torch.float64)[: size // 2]
    return angles.cos(), angles.sin()


def test_with_a_group_a_head_and_no_turns_it_is_multi_head_attention():
    ours, theirs = make(2, 2), MultiHeadAttention(8, 2).double()
    with torch.no_grad():
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            a.copy_(b)
    x, still = torch.randn(2, 5, 8, dtype=torch.float64), turns_of(torch.zeros(5))
    torch.testing.assert_close(ours(x, still), theirs(x, causal=True))


@settings(max_examples=15, deadline=None)
@given(window=st.integers(1, 6), pieces=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_window_cache_maps_and_padding_agree(window, pieces):
    block, t = make(), sum(pieces)
    x, turns = torch.randn(2, t, 8, dtype=torch.float64), turns_of(torch.arange(t))
    whole = block(x, turns, window=window)
    maps = []
    torch.testing.assert_close(block(x, turns, window=window, maps=maps), whole)
    places = torch.arange(t)
    back = places[:, None] - places
    assert (maps[0][:, :, (back < 0) | (back >= window)] == 0).all()
    seen = padding_bias(torch.ones(2, t), x)
    torch.testing.assert_close(block(x, turns, window=window, bias=seen), whole)
    for cache in (KeyValueCache(), RollingCache(window=window)):
        start, parts = 0, []
        for piece in pieces:
            new = slice(start, start + piece)
            some = tuple(table[new] for table in turns)
            parts.append(block(x[:, new], some, window=window, cache=cache))
            start += piece
        torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_products_of_turned_vectors_know_their_distance_only():
    x = torch.randn(2, 1, 1, 1, 4, dtype=torch.float64)
    q, k = (turned(one.expand(1, 1, 9, 4), turns_of(torch.arange(9))) for one in x)
    products = (q @ k.mT)[0, 0]
    for distance in range(-8, 9):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
