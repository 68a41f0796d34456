import pytest

from orrery.lab.over_seeds import over_seeds


def test_means_and_half_widths_come_in_the_order_of_the_keys():
    results = [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 5.0}]
    mean, half = over_seeds(results, ["b", "a"])
    assert mean == [5.0, 2.0]
    assert half == [0.0, pytest.approx(12.706, rel=1e-4)]  # t of one degree of freedom, times 1


def test_one_seed_has_no_interval():
    assert over_seeds([{"a": 1.0}], ["a"]) == ([1.0], [0.0])
