"""States are computed from files, tests, experiments and records; wrong names are errors."""

import dataclasses
import json

import pytest

from orrery import cache
from orrery.errors import OrreryError
from orrery.plan import state as module
from orrery.plan.load import load
from orrery.plan.state import claim_states, system_states
from tests.house import EXPERIMENT, RECORD, SYSTEM, build

FILE = "src/orrery/systems/foundations/resnet.py"
DEPTH = "src/orrery/experiments/foundations/depth.py"
JSON = "records/foundations/depth.json"
TESTS = {
    "tests/systems/foundations/test_resnet.py": None,
    "tests/systems/foundations/test_resnet_weights.py": None,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", lambda kind: tmp_path / kind)
    for kind in ("systems", "experiments", "records", "plan"):
        (tmp_path / kind).mkdir()


def test_a_system_with_file_and_tests_works(tmp_path):
    states = system_states("en", build(tmp_path / "house"))
    for id_ in ("resnet", "residual-connection"):
        one = states[id_]
        assert one.state == "works"
        assert one.file is not None
        assert [e.stem for e in one.experiments] == ["depth"]
        assert [r.file for r in one.records] == [JSON]
    assert {one.state for id_, one in states.items() if "res" not in id_} <= {"missing", "entry"}


def test_an_experiment_also_runs_what_its_systems_build_on(tmp_path):
    below = SYSTEM.replace('"resnet"', '"conv"', 1).replace(
        '("resnet", "residual-connection")', '("alexnet",)'
    )
    built = SYSTEM.replace("builds_on=()", 'builds_on=("conv",)')
    files = {"src/orrery/systems/foundations/conv.py": below, FILE: built}
    states = system_states("en", build(tmp_path / "house", files))
    assert [e.stem for e in states["alexnet"].experiments] == ["depth"]


def test_without_tests_a_system_does_not_work(tmp_path):
    states = system_states("en", build(tmp_path / "house", TESTS))
    assert states["resnet"].state == "missing"


def test_an_entry_stands_where_nothing_can_run(tmp_path, monkeypatch):
    plan = load()
    told = dataclasses.replace(plan.systems["gpt-4"], entry="Its weights are closed.")
    plan = dataclasses.replace(plan, systems=plan.systems | {"gpt-4": told})
    monkeypatch.setattr(module, "load", lambda _: plan)
    assert system_states("en", build(tmp_path / "house"))["gpt-4"].state == "entry"


def test_a_claim_is_tested_where_a_record_answers_it(tmp_path):
    one = claim_states("en", build(tmp_path / "house"))["resnet-error"]
    assert (one.state, one.verdict) == ("tested", "fails")
    assert one.experiment is not None
    assert one.record is not None


@pytest.mark.parametrize("record", [None, json.dumps(RECORD | {"verdicts": []})])
def test_without_its_verdict_a_claim_is_what_the_sources_say(tmp_path, record):
    one = claim_states("en", build(tmp_path / "house", {JSON: record}))["resnet-error"]
    assert (one.state, one.verdict, one.record) == ("literature", None, None)
    assert one.experiment is not None


def test_claims_nobody_tests_say_how_far_they_are_settled(tmp_path):
    states = claim_states("en", build(tmp_path / "house"))
    assert states["sigmoid-quarter"].state == "derivation"
    assert states["gpt4-bpc"].state == "literature"
    assert states["mdl-tradeoff"].state == "not yet"


@pytest.mark.parametrize(
    ("file", "text", "old", "new", "said"),
    [
        (FILE, SYSTEM, '"residual-connection"', '"shortcut"', "realises: shortcut does not exist"),
        (FILE, SYSTEM, "builds_on=()", 'builds_on=("vgg",)', "builds_on: vgg does not exist"),
    ],
)
def test_a_system_that_names_what_is_not_there_is_an_error(tmp_path, file, text, old, new, said):
    package = build(tmp_path / "house", {file: text.replace(old, new)})
    with pytest.raises(OrreryError, match=f"resnet.py: {said}"):
        system_states("en", package)


def test_an_experiment_that_names_an_unknown_claim_is_an_error(tmp_path):
    text = EXPERIMENT.replace("resnet-error", "resnet-eror")
    with pytest.raises(OrreryError, match=r"depth\.py: CLAIMS: resnet-eror does not exist"):
        claim_states("en", build(tmp_path / "house", {DEPTH: text}))


def test_a_claim_is_tested_in_one_place(tmp_path):
    other = DEPTH.replace("depth", "width")
    with pytest.raises(OrreryError, match=r"resnet-error is tested twice: in .* and .*width\.py"):
        claim_states("en", build(tmp_path / "house", {other: EXPERIMENT}))
