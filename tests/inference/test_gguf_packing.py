import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.inference.gguf_blocks import FORMATS
from orrery.inference.gguf_packing import PACKERS

BY_NAME = {one.name: one for one in FORMATS.values()}


def numbers(rows, seed, size, special):
    """Rows of 32, some of them such as rounding is known to stumble over."""
    made = size * torch.randn(rows, 32, generator=torch.Generator().manual_seed(seed))
    for row, kind in enumerate(special[:rows]):
        if kind == "zeros":
            made[row] = 0
        elif kind == "halves":  # scale 1: codes in the middle between two
            made[row] = torch.arange(-16, 16) * 7.5 + 0.25
            made[row, 0] = 127
        elif kind == "tie":  # as large above zero as below
            made[row, 3], made[row, 20] = 9.0 * size, -9.0 * size
        elif kind == "one":
            made[row] = 0.3 * size
    return made


@pytest.mark.parity
@pytest.mark.parametrize("name", PACKERS)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40), seed=st.integers(0, 999),
    size=st.sampled_from([1e-3, 0.02, 1.0, 50.0]),
    special=st.lists(st.sampled_from(["zeros", "halves", "tie", "one", ""]), max_size=6),
)  # fmt: skip
def test_bytes_are_those_of_the_library(name, rows, seed, size, special):
    made = numbers(rows, seed, size, special)
    theirs = gguf.quantize(made.numpy(), gguf.GGMLQuantizationType[name])
    ours = PACKERS[name](made.reshape(-1, BY_NAME[name].numbers))
    assert ours.numpy().tobytes() == np.ascontiguousarray(theirs).tobytes()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
def test_unpacked_again_no_number_is_off_by_more_than_a_step(name):
    made = numbers(200, 0, 0.05, [])
    again = BY_NAME[name].unpack(PACKERS[name](made))
    spread = made.amax(1, keepdim=True) - made.amin(1, keepdim=True)
    largest = made.abs().amax(1, keepdim=True)
    half = {"Q4_0": largest / 8, "Q4_1": spread / 30, "Q8_0": largest / 254}[name]
    assert ((again - made).abs() <= 1.02 * half + 1e-3 * largest).all()
    assert torch.equal(BY_NAME[name].unpack(PACKERS[name](0 * made)), 0 * made)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0", "F16"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_numbers_without_a_scale_are_refused(name, bad):
    made = torch.zeros(2, 32)
    made[1, 5] = bad
    with pytest.raises(ValueError, match="within the range of half precision"):
        PACKERS[name](made)


def test_numbers_too_small_for_a_scale_become_zero():
    made = torch.full((1, 32), 1e-42)
    for name in ("Q4_0", "Q8_0"):
        assert not BY_NAME[name].unpack(PACKERS[name](made)).any()
