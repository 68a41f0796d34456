import pytest
from pydantic import ValidationError

from orrery.experiments.foundations.residual_depth import CLAIMS, ResidualDepthSettings
from orrery.lab.inline import run_inline

TINY = {"depths": (8, 14), "steps": 2, "images": 32, "batch": 4, "width": 2}


@pytest.mark.parametrize(
    ("depths", "says"),
    [((8,), "grow"), ((14, 8), "grow"), ((8, 8), "grow"), ((8, 15), "6n"), ((2, 8), "8")],
)
def test_depths_that_make_no_sense_are_refused(depths, says):
    with pytest.raises(ValidationError, match=says):
        ResidualDepthSettings(depths=depths)


def test_without_shortcuts_the_arms_are_one_net(tmp_path):
    measured = run_inline(
        "foundations/residual_depth",
        tmp_path,
        ablation="no_shortcut",
        checkpoint_seconds=0.0,
        **TINY,
    )
    for depth in TINY["depths"]:
        for quantity in ("train_error", "test_error", "gradient_decades"):
            plain, residual = (
                measured[f"{arm}-{depth}/{quantity}"] for arm in ("plain", "residual")
            )
            assert plain == residual
    assert CLAIMS[0].effect(measured) == 0.0


def test_degradation_is_against_the_best_shallower_net():
    claim = CLAIMS[0]
    measured = {"plain/degradation": 0.4, "residual/degradation": -0.1}
    assert claim.effect(measured) == pytest.approx(0.5)
    assert claim.effect(measured) > claim.margin
