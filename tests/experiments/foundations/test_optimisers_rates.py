import pytest

from orrery.experiments.foundations._rates import (
    RATES,
    RULES,
    best,
    decades,
    given_away,
    inside,
    usable,
)


def sweep(**tasks):
    return {
        f"{task}/adam/{i}": loss for task, losses in tasks.items() for i, loss in enumerate(losses)
    }


VALLEY = [2.0, 1.5, 1.0, 0.5, 0.45, 0.4, 0.45, 1.0, 3.0, 9.0, 10.0]


def test_a_valley_of_losses_is_read_off():
    m = sweep(a=VALLEY)
    assert best(m, "a", "adam") == 0.4
    assert inside(m, "a", "adam")
    assert usable(m, "a", "adam") == pytest.approx(1.5)  # three rates, half a decade each
    assert not inside(sweep(a=sorted(VALLEY)), "a", "adam")


def test_one_rate_for_two_tasks_gives_away_what_the_worse_task_loses():
    assert given_away(sweep(a=VALLEY, b=VALLEY), ("a", "b"), "adam") == 0.0
    moved = [*VALLEY[1:], 10.0]
    assert given_away(sweep(a=VALLEY, b=moved), ("a", "b"), "adam") == pytest.approx(0.05)


def test_every_rule_has_its_rates():
    for rule in RULES:
        found = decades(rule)
        assert len(found) == RATES
        assert found[1] - found[0] == pytest.approx(0.5)
