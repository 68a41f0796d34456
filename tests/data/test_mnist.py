import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from orrery.data import mnist
from orrery.data.fetch import get
from orrery.errors import OrreryError


@pytest.fixture(scope="module")
def parts():
    try:
        get(mnist.CARD)
    except OrreryError as error:
        pytest.skip(str(error))
    return mnist.load()


def test_the_split_is_fixed_balanced_and_without_overlap(parts):
    train, test = parts
    assert [np.bincount(part.labels).tolist() for part in parts] == [[400] * 10, [100] * 10]
    pictures = {image.tobytes() for image in train.images}
    assert len(pictures) == len(train)
    assert not any(image.tobytes() in pictures for image in test.images)
    again, _ = mnist.load()
    np.testing.assert_array_equal(train.images, again.images)


def test_pictures_are_digits_in_their_frame(parts):
    """MNIST's own making: 20 x 20 pixels of ink, its centre of mass in the middle of 28 x 28."""
    images = parts[0].images.astype(float)
    ink = np.stack([images.any(axis).sum(1) for axis in (1, 2)])  # columns and rows with any
    assert (ink.max(0) == 20).mean() > 0.95
    mass = images.sum((1, 2))
    for axis in (1, 2):
        centre = (images.sum(3 - axis) * np.arange(28)).sum(1) / mass
        assert np.abs(centre - 14).max() < 1.5


def test_a_linear_classifier_is_as_good_as_it_should_be(parts):
    train, test = (part.images.reshape(len(part), -1) / 255 for part in parts)
    model = LogisticRegression(C=0.05, max_iter=60, tol=1e-2).fit(
        train[:1_500], parts[0].labels[:1_500]
    )
    right = model.score(test, parts[1].labels)
    assert 0.85 < right < 0.95
