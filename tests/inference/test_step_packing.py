"""`orrery.inference.step`: where packing puts rows, and what it refuses."""

import pytest
import torch

from orrery.errors import OrreryError
from orrery.inference import step as native
from orrery.inference.step import BLOCK_BYTES, Arena, Matrix, StoredMap
from tests.inference.stored_maps import in_order, q4_1, q8_0

pytestmark = pytest.mark.skipif(native.library() is None, reason="built without a C compiler")


@pytest.mark.parametrize("make", [q4_1, q8_0])
def test_rows_stand_where_they_are_wanted(make):
    """Each group's scale is found where the layout says, for any order and when taking turns."""
    generator = torch.Generator().manual_seed(3)
    (one, _), (two, _) = make(32, 2, generator), make(32, 2, generator)
    order = torch.randperm(32, generator=generator)
    maps = [StoredMap(stored=one, order=order), StoredMap(stored=two, order=order)]
    bits = 4 if make is q4_1 else 8
    for in_turn, places in ((False, (0, 1, 2, 3)), (True, (0, 2, 1, 3))):
        packed = Matrix(maps, 64, in_turn=in_turn).packed.view(4, 2, BLOCK_BYTES[bits])
        scales = packed[:, :, 256 if bits == 4 else 512 :][..., :32].contiguous().view(torch.half)
        for block, place in enumerate(places):
            stored = (one, two)[block // 2].view(32, 2, -1)[order[block % 2 * 16 :][:16], :, :2]
            assert scales[place].T.equal(stored.contiguous().view(torch.half)[..., 0])


def test_sizes_that_do_not_fit_are_refused():
    generator = torch.Generator().manual_seed(3)
    stored, _ = q4_1(24, 1, generator)
    even, _ = q4_1(16, 1, generator)
    other, _ = q8_0(16, 1, generator)
    for maps, columns in (
        ([in_order(stored, 24), in_order(even, 16)], 32),  # 24 rows are no whole blocks
        ([in_order(even, 16), in_order(other, 16)], 32),
        ([in_order(torch.ones(16, 40), 16)], 40),
    ):
        with pytest.raises(OrreryError, match="maps must be stored alike"):
            Matrix(maps, columns)
    assert Matrix([in_order(even, 16), in_order(stored, 24)], 32).rows == 40


def test_an_arena_hands_out_zeros_side_by_side():
    """In the order of asking, at the beginning of a cache line, whatever the size."""
    arena = Arena()
    sizes = [(3, 320), (1, 65), (2, 544), (1, 1000), (1, Arena.PIECE + 1), (2, 32)]
    given = [arena.zeros(*size) for size in sizes]
    for i, (one, size) in enumerate(zip(given, sizes, strict=True)):
        assert one.shape == size
        assert one.data_ptr() % 64 == 0
        assert not one.any()
        one[:, ::31] = i + 1
    assert [int(one.max()) for one in given] == [1, 2, 3, 4, 5, 6]
    assert given[1].data_ptr() - given[0].data_ptr() == 3 * 320


def test_where_the_weights_lie_changes_nothing():
    generator = torch.Generator().manual_seed(3)
    stored, _ = q4_1(32, 2, generator)
    arena = Arena()
    arena.zeros(1, 100)
    beside = Matrix([in_order(stored, 32)], 64, arena=arena)
    assert beside.packed.equal(Matrix([in_order(stored, 32)], 64).packed)
