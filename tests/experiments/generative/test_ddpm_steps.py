import pytest
import torch

from orrery.errors import UsageError
from orrery.experiments.generative._digits import Drawings, picture
from orrery.experiments.generative.ddpm_steps import DdpmStepsSettings, draw, speed_up


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": "50,10"}, "more than 50"),
        ({"steps": "1000,10,50"}, "must fall"),
        ({"steps": "1000,10"}, "50 and 10"),
        ({"width": 6}, "multiple of 4"),
        ({"samples": 2}, "samples=2"),
    ],
)
def test_settings_that_leave_an_arm_out_are_refused(wrong, says):
    with pytest.raises(UsageError, match=says):
        DdpmStepsSettings.parse(wrong)


MEASURED = {
    "ancestral-all/distance": 3.0, "ancestral-all/seconds": 100.0,
    "ddim-all/distance": 1.0, "ddim-all/seconds": 50.0,
    "ddim-100/distance": 1.0, "ddim-100/seconds": 10.0,
    "ddim-50/distance": 1.1, "ddim-50/seconds": 4.0,
    "ddim-10/distance": 1.6, "ddim-10/seconds": 1.0,
    "solver-10/distance": 1.1, "solver-10/seconds": 0.5,
}  # fmt: skip


def test_the_speed_up_is_that_of_the_fastest_ddim_that_is_near_enough():
    assert 10 ** speed_up(MEASURED) == pytest.approx(25)
    assert 10 ** speed_up(MEASURED | {"ddim-10/distance": 1.15}) == pytest.approx(100)
    far = {f"ddim-{n}/distance": 2.0 for n in (100, 50, 10)}
    assert 10 ** speed_up(MEASURED | far) == pytest.approx(2)  # the whole chain itself


def test_drawings_survive_a_restart():
    kept, again = Drawings(), Drawings()
    kept["ddim-10"] = torch.ones(2)
    again.load_state_dict(kept.state_dict())
    assert again.keys() == {"ddim-10"}
    assert torch.equal(again["ddim-10"], torch.ones(2))


def test_figures_show_every_arm():
    arms = [f"{kind}-{n}" for kind in ("ddim", "ancestral") for n in (100, 50, 10)]
    results = [
        {f"{arm}/distance": 1.0 + seed for arm in (*arms, "solver-10", "floor")}
        for seed in range(2)
    ]
    (axis,) = draw(results, DdpmStepsSettings(steps=(100, 50, 10)))["steps"].axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "as many real digits", "ddim", "ancestral", "solver",
    ]  # fmt: skip
    rows = picture({arm: torch.zeros(3, 1, 4, 4) for arm in arms}).axes
    assert [axis.get_ylabel() for axis in rows] == [*arms[3:], *arms[:3]]
