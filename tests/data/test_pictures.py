import numpy as np
import pytest
import torch

from orrery.data.labelled import Labelled
from orrery.data.pictures import draw_pictures

PART = Labelled(
    np.arange(6 * 8 * 8, dtype=np.int64).reshape(6, 8, 8).astype(np.uint8), np.arange(6)
)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pixels_and_classes_stay_together_and_go_from_minus_one_to_one():
    images, classes = draw_pictures(PART, 4, stream())
    assert images.shape == (4, 1, 8, 8)
    assert len(set(classes.tolist())) == 4
    expected = torch.from_numpy(PART.images[classes.numpy()]).float() / 127.5 - 1
    torch.testing.assert_close(images[:, 0], expected)
    assert images.min() >= -1
    assert images.max() <= 1


def test_the_same_stream_draws_the_same_and_another_draws_others():
    first, second = (draw_pictures(PART, 6, stream())[1] for _ in range(2))
    assert first.tolist() == second.tolist()
    assert sorted(first.tolist()) == list(range(6))
    assert any(draw_pictures(PART, 6, stream(s))[1].tolist() != first.tolist() for s in (1, 2))


def test_halving_averages_two_by_two():
    whole, _ = draw_pictures(PART, 3, stream())
    half, _ = draw_pictures(PART, 3, stream(), halvings=1)
    torch.testing.assert_close(half, whole.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5)))
    assert draw_pictures(PART, 99, stream(), halvings=3)[0].shape == (6, 1, 1, 1)


@pytest.mark.parametrize(("count", "halvings", "says"), [(0, 0, "count"), (1, 4, "from 0 to 3")])
def test_what_cannot_be_drawn_is_refused(count, halvings, says):
    with pytest.raises(ValueError, match=says):
        draw_pictures(PART, count, stream(), halvings=halvings)
