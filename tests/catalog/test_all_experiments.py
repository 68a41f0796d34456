"""Checks every experiment must pass: it runs small, is judged, draws, and its record is sound."""

import math

import pytest

from orrery.catalog import experiments, records_folder
from orrery.lab.experiment import load_experiment
from orrery.lab.inline import run_inline
from orrery.lab.record import check_record
from orrery.lab.scale import SCALES
from orrery.lab.verdict import judge
from orrery.plan.record import Record
from tests.catalog.awaiting import with_record

STEMS = sorted(experiments())


def loaded(stem):
    return load_experiment(experiments()[stem].area, stem)


@pytest.mark.parametrize("stem", STEMS)
def test_smoke_run_is_finite_judged_and_drawn(tmp_path, stem):
    experiment = loaded(stem)
    measured = run_inline(stem, tmp_path / "plain", scale="smoke")
    assert measured
    assert all(math.isfinite(value) for value in measured.values())
    for name in experiment.ablations:
        ablated = run_inline(stem, tmp_path / name, scale="smoke", ablation=name)
        assert all(math.isfinite(value) for value in ablated.values())
    judged = judge(experiment.claims, [measured], sentence=str)
    assert {j.verdict for j in judged} == {"undecided"}
    if experiment.draw is not None:
        figures = experiment.draw([measured, measured], experiment.at_scale("smoke", {}))
        assert figures


@pytest.mark.parametrize("stem", STEMS)
def test_every_scale_has_valid_settings_and_every_setting_its_help(stem):
    experiment = loaded(stem)
    for scale in SCALES:
        experiment.at_scale(scale, {})
    for name, field in experiment.settings.model_fields.items():
        assert field.description, f"{stem}: {name} has no help"


@pytest.mark.parametrize("stem", with_record(STEMS))
def test_the_record_is_of_this_experiment_and_sound(stem):
    """Controls hold, and the main claim holds under no ablation."""
    path = records_folder() / experiments()[stem].area / f"{stem}.json"
    record = Record.model_validate_json(path.read_text(encoding="utf8"))
    experiment = loaded(stem)
    assert record.scale == "full"
    assert set(record.ablations) == set(experiment.ablations)
    settings = experiment.at_scale("full", {}).model_dump(mode="json")
    assert record.settings == settings, "the defaults have changed since the record was written"
    assert len(record.seeds) == experiment.seeds
    check_record(record)
    again = judge(experiment.claims, list(record.measured), sentence=lambda i: f"{i}")
    assert [j.verdict for j in again if not _is_control(j, record)] == [
        j.verdict for j in record.verdicts
    ], "the rule or the claims have changed since the record was written"


def _is_control(judgement, record):
    return judgement.text in {control.text for control in record.controls}
