import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.attention import attention
from orrery.nn.rolling_cache import RollingCache
from orrery.nn.window_attention import window_attention, window_bias


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(st.integers(1, 5), min_size=1, max_size=6), window=st.integers(1, 7))
def test_piece_by_piece_is_all_at_once(pieces, window):
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 1, sum(pieces), 4, generator=generator, dtype=torch.float64)
    cache, start, parts = RollingCache(window=window), 0, []
    for piece in pieces:
        new = slice(start, start + piece)
        assert len(cache) == start
        keys, values = cache.extend(0, k[:, :, new], v[:, :, new])
        bias = window_bias(piece, keys.shape[2], window, q)
        parts.append(attention(q[:, :, new], keys, values, bias=bias))
        start += piece
        assert cache.keys[0].shape[2] == min(start, window - 1)
    torch.testing.assert_close(torch.cat(parts, dim=2), window_attention(q, k, v, window))


def test_rows_can_be_taken():
    cache = RollingCache(window=3)
    k = torch.arange(8.0).reshape(2, 1, 4, 1)
    cache.extend(0, k, k)
    cache.take(torch.tensor([1, 1, 0]))
    assert cache.keys[0].flatten().tolist() == [6, 7, 6, 7, 2, 3]
    assert len(cache) == 4


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        RollingCache(window=0)
