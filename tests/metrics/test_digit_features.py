import pytest
import torch
import torch.nn.functional as F

from orrery.metrics.digit_features import DigitFeatures, compare_digits


@pytest.mark.parametrize("sizes", [{"size": 3}, {"size": 14, "features": 0}])
def test_sizes_that_are_too_small_are_refused(sizes):
    with pytest.raises(ValueError, match="size must be at least 4"):
        DigitFeatures(**sizes)


@pytest.mark.parametrize("size", [4, 14, 15, 28])
def test_a_picture_has_its_features_and_ten_scores(size):
    reader = DigitFeatures(size, features=5)
    pictures = torch.rand(3, 1, size, size) * 2 - 1
    assert reader.features(pictures).shape == (3, 5)
    assert reader(pictures).shape == (3, 10)
    torch.testing.assert_close(reader.head(reader.features(pictures)), reader(pictures))
    assert reader.features(pictures).min() >= 0


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    reader = DigitFeatures(14)
    pictures, labels = torch.randn(20, 1, 14, 14), torch.arange(20) % 10
    optimiser = torch.optim.Adam(reader.parameters(), lr=1e-2)
    before = (reader(pictures).argmax(1) == labels).float().mean()
    for _ in range(60):
        loss = F.cross_entropy(reader(pictures), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert before < 0.5
    assert (reader(pictures).argmax(1) == labels).float().mean() == 1


def test_equal_digits_are_near_and_noise_is_far():
    torch.manual_seed(0)
    reader, rng = DigitFeatures(8), torch.Generator().manual_seed(0)
    pictures = torch.randn(300, 1, 8, 8).sign()
    near = compare_digits(reader, pictures[:100], pictures[100:], permutations=99, rng=rng)
    far = compare_digits(
        reader, 3 * torch.randn(100, 1, 8, 8) + 1, pictures, permutations=99, rng=rng
    )
    assert near.distance < 0.5 < 5 < far.distance
    assert near.p > 0.05 > far.p
    assert 1 <= near.classes <= 10
    # one digit drawn over and over is one class
    assert compare_digits(
        reader, pictures[:1].expand(20, -1, -1, -1), pictures, permutations=19, rng=rng
    ).classes == pytest.approx(1)  # fmt: skip
