import pytest
import torch
from scipy.stats import binom

from orrery.metrics.two_sample import gaussian_kernel, mmd_test

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"permutations": 0}, "permutations"),
        ({"bandwidth": -1.0}, "bandwidth"),
        ({"bandwidth": float("inf")}, "bandwidth"),
        ({"points": torch.zeros(1, 2)}, "at least 2 points"),
    ],
)
def test_bad_arguments_are_refused(change, says):
    arguments = {"points": torch.zeros(3, 2), "others": torch.zeros(3, 2), "permutations": 5}
    arguments |= {"rng": rng()} | change
    points, others = arguments.pop("points"), arguments.pop("others")
    with pytest.raises(ValueError, match=says):
        mmd_test(points, others, **arguments)


def test_the_estimate_is_the_definition_with_loops():
    points, others = torch.randn(5, 3, dtype=DOUBLE), torch.randn(7, 3, dtype=DOUBLE) + 1

    def k(x, y):
        return torch.exp(-(x - y).square().sum() / (2 * 1.5**2))

    def mean(xs, ys, *, same):
        values = [k(x, y) for i, x in enumerate(xs) for j, y in enumerate(ys) if not same or i != j]
        return sum(values) / len(values)

    expected = mean(points, points, same=True) + mean(others, others, same=True)
    expected = expected - 2 * mean(points, others, same=False)
    ours = mmd_test(points, others, permutations=1, rng=rng(), bandwidth=1.5)
    assert ours.mmd2 == pytest.approx(float(expected), abs=1e-12)


def test_the_estimate_is_unbiased():
    # E k(x, y) for Gaussians N(a, 1), N(b, 1) in one dimension is known
    def expected_kernel(apart):
        return (1 / 3) ** 0.5 * torch.exp(torch.tensor(-(apart**2) / 6, dtype=DOUBLE))

    truth = float(2 * expected_kernel(0.0) - 2 * expected_kernel(1.0))
    generator = rng(1)
    estimates = []
    for _ in range(300):
        points, others = torch.randn(2, 20, 1, dtype=DOUBLE, generator=generator)
        test = mmd_test(points, others + 1, permutations=1, rng=generator, bandwidth=1.0)
        estimates.append(test.mmd2)
    values = torch.tensor(estimates)
    assert abs(values.mean() - truth) < 3 * values.std() / 300**0.5


def test_false_alarms_are_as_rare_as_promised():
    generator, runs = rng(2), 400
    alarms = sum(
        mmd_test(
            torch.randn(15, 2, generator=generator), torch.randn(20, 2, generator=generator),
            permutations=99, rng=generator,
        ).p <= 0.05
        for _ in range(runs)
    )  # fmt: skip
    assert binom.ppf(0.001, runs, 0.05) <= alarms <= binom.ppf(0.999, runs, 0.05)


@pytest.mark.parametrize(
    ("change", "bandwidth"),
    [(lambda x: x + 0.7, 0.0), (lambda x: 2 * x, 0.0), (lambda x: x.sign(), 0.3)],
    ids=["place", "spread", "shape"],
)
def test_differences_are_found(change, bandwidth):
    # the signs of Gaussian numbers have their mean and variance: only a finer kernel sees them
    generator = rng(3)
    points, others = torch.randn(2, 100, 2, generator=generator)
    test = mmd_test(points, change(others), permutations=200, rng=generator, bandwidth=bandwidth)
    assert test.p < 0.01


def test_one_distribution_is_not_told_apart_and_equal_points_are_fine():
    points = torch.randn(100, 2, generator=rng(4))
    assert mmd_test(points[:50], points[50:], permutations=200, rng=rng()).p > 0.05
    assert mmd_test(torch.ones(5, 2), torch.ones(6, 2), permutations=20, rng=rng()).p == 1


def test_the_bandwidth_is_the_median_distance():
    points = torch.tensor([[0.0], [1.0], [3.0]], dtype=DOUBLE)  # distances 1, 2, 3
    torch.testing.assert_close(gaussian_kernel(points), gaussian_kernel(points, 2.0))
