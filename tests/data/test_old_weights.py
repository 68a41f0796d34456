import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data import efficientnet_lite0, imagenet_classes
from orrery.data.old_weights import read_old_weights
from orrery.errors import OrreryError
from tests.data.test_sets import have


def saved(tensors):
    """As PyTorch wrote it before version 1.6."""
    file = io.BytesIO()
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=5),
    st.sampled_from([torch.float32, torch.int64]),
)
def test_it_reads_what_pytorch_wrote(shapes, dtype):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"layer{i}.weight": torch.randn(shape, generator=generator).mul(10).to(dtype)
        for i, shape in enumerate(shapes)
    }
    found = read_old_weights(saved(tensors))
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.numpy(), strict=True)


def test_a_module_and_views_of_one_storage_come_out_whole():
    layer = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    whole = torch.arange(24.0).view(4, 6)
    tensors = layer.state_dict() | {"turned": whole.T, "part": whole[1:3, 2:], "all": whole}
    found = read_old_weights(saved(tensors))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy(), strict=True)


HEAD = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",  # the magic number
    b"\x80\x02M\xe9\x03.",
    b"\x80\x02}.",
    b"\x80\x02}.",
    b"\x80\x02].",
)
HARM = b"\x80\x02cos\nmkdir\nX\x04\x00\x00\x00harm\x85R."  # makes a folder where pickle reads it


@pytest.mark.parametrize("place", range(5))
def test_nothing_a_file_says_is_ever_called(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    assert read_old_weights(b"".join(HEAD)) == {}
    content = b"".join((*HEAD[:place], HARM, *HEAD[place + 1 :]))
    with pytest.raises(OrreryError, match=r"mkdir.*no part of a table of tensors"):
        read_old_weights(content)
    assert not list(tmp_path.iterdir())


def test_damage_is_an_error_and_never_a_crash():
    content = saved({"a": torch.randn(3, 4), "b": torch.arange(3)})
    for size in range(0, len(content), 7):
        with pytest.raises(OrreryError, match="cannot be read"):
            read_old_weights(content[:size])
    with pytest.raises(OrreryError, match="more after the last number"):
        read_old_weights(content + b"\0")
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        changed[random.integers(len(content))] = random.integers(256)
        try:
            read_old_weights(bytes(changed))
        except OrreryError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_the_weights_and_the_classes_are_what_their_cards_say():
    weights = have(efficientnet_lite0).load()
    counts = efficientnet_lite0.CARD.counts
    assert (len(weights), sum(w.size for w in weights.values())) == tuple(counts.values())
    classes = have(imagenet_classes).load()
    assert len(set(classes)) >= 998  # two birds and two machines share their words: crane
    assert len(classes) == imagenet_classes.CARD.counts["classes"]
    assert classes[0] == "tench, Tinca tinca"
    assert classes[281] == "tabby, tabby cat"
