import numpy as np
import pytest

from orrery.lab.figures import svg_bytes
from orrery.lab.heat_maps import heat_maps


def maps(rows, columns, size):
    return np.random.default_rng(0).random((rows, columns, size, size))


def test_every_map_has_its_place_its_title_and_its_letters():
    weights = maps(2, 3, 4)
    figure = heat_maps(weights, "ab c")
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        f"layer {row}, head {column}" for row in (1, 2) for column in (1, 2, 3)
    ]
    last = figure.axes[-1]
    np.testing.assert_allclose(last.images[0].get_array() ** 2, weights[1, 2])
    assert [label.get_text() for label in last.get_xticklabels()] == ["a", "b", "·", "c"]
    assert svg_bytes(figure).startswith(b"<?xml")


@pytest.mark.parametrize("text", ["abc寒", "，"])
def test_letters_that_the_font_lacks_are_left_out_without_a_warning(text):
    figure = heat_maps(maps(1, 1, len(text)), text)
    assert svg_bytes(figure)
    assert text[-1] not in [label.get_text() for label in figure.axes[0].get_xticklabels()]
