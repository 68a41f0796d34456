"""`orrery.inference.gguf_blocks` against the library gguf."""

import gguf
import numpy as np
import pytest
import torch

from orrery.inference.gguf_blocks import FORMATS


def blocks(form, count, seed=0):
    """Random blocks whose half-precision scales are ordinary numbers."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (count, form.bytes), dtype=np.uint8)
    places = {"Q4_0": [0], "Q4_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q6_K": [208], "F16": [0]}
    for place in places.get(form.name, []):
        scales = rng.normal(size=(count, 1)).astype(np.float16)
        data[:, place : place + 2] = scales.view(np.uint8)
    if form.name in ("F32", "BF16"):
        code = rng.normal(size=(count, 1)).astype(np.float32).view(np.uint8)
        data[:] = code[:, -form.bytes :]
    return data


@pytest.mark.parity
@pytest.mark.parametrize("kind", FORMATS)
def test_numbers_are_the_librarys_bit_for_bit(kind):
    form = FORMATS[kind]
    data = blocks(form, 300)
    want = np.array(gguf.dequantize(data, gguf.GGMLQuantizationType(kind)))
    found = form.unpack(torch.from_numpy(data))
    assert found.shape == (300, form.numbers)
    assert torch.equal(found, torch.from_numpy(want).reshape(found.shape))


@pytest.mark.parametrize("kind", FORMATS)
def test_sizes_of_blocks_are_the_librarys(kind):
    form = FORMATS[kind]
    assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == (form.numbers, form.bytes)


@pytest.mark.parametrize("kind", [2, 3])
def test_scale_and_offset_give_the_same_numbers(kind):
    form = FORMATS[kind]
    data = torch.from_numpy(blocks(form, 50))
    q, scale, offset = form.groups(data)
    assert int(q.max()) == 15
    torch.testing.assert_close(scale * q + offset, form.unpack(data))


def test_other_formats_have_no_four_bit_groups():
    assert {form.name for form in FORMATS.values() if form.groups} == {"Q4_0", "Q4_1"}
