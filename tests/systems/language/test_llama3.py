import pytest
import torch

from orrery.systems.language.llama import parameters
from orrery.systems.language.llama3 import cost, llama3_8b, llama3_70b, llama3_405b


@pytest.mark.parametrize(
    ("preset", "count"),
    [(llama3_8b, 8_030_261_248), (llama3_70b, 70_553_706_496), (llama3_405b, 405_853_388_800)],
)
def test_the_sizes_have_the_published_number_of_parameters(preset, count):
    assert parameters(preset()) == count


def test_the_largest_took_the_published_operations():
    row = cost("405B")
    assert row["operations"] == pytest.approx(3.8e25, rel=0.01)  # section 3.2
    assert row["tokens"] / row["parameters"] > 30


def test_places_are_slowed_only_where_waves_are_long():
    config = llama3_8b()
    theta, factor = config.rope.angles(config.size, config.context)
    plain = 500_000.0 ** (-torch.arange(64) / 64)
    assert factor == 1
    torch.testing.assert_close(theta[:20], plain[:20])
    torch.testing.assert_close(theta[-20:], plain[-20:] / 8)


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size must be one of 8B, 70B, 405B, got '9B'"):
        cost("9B")
