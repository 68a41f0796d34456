"""Checks run on every system, experiment and record of the house; a new file is checked too."""

import ast
import re

import pytest

from orrery import catalog
from orrery.plan.load import load
from orrery.plan.model import AREAS
from orrery.plan.state import claim_states, system_states
from orrery.syntax import imported
from tests.catalog.awaiting import with_record

SYSTEMS = list(catalog.systems().values())
EXPERIMENTS = list(catalog.experiments().values())
RECORDS = list(catalog.records().values())

each_system = pytest.mark.parametrize("one", SYSTEMS, ids=lambda one: one.system.stem)
each_experiment = pytest.mark.parametrize("one", EXPERIMENTS, ids=lambda one: one.stem)


def tree_of(file: str) -> ast.Module:
    return ast.parse((catalog.root() / file).read_text(encoding="utf-8"))


@each_system
def test_the_record_is_complete(one):
    system = one.system
    assert system.area in AREAS
    assert system.title.strip() == system.title != ""
    assert 1600 < system.year < 2100
    assert system.papers, "name the paper (or the book) it comes from"
    assert all(re.search(r"\d", paper) for paper in system.papers), "an identifier or a year"


@each_system
def test_the_docstring_says_source_and_departures(one):
    docstring = ast.get_docstring(tree_of(one.file)) or ""
    assert re.search(r"^Source: \S", docstring, re.MULTILINE)
    assert re.search(r"^Differs from the papers?: \S", docstring, re.MULTILINE)


@each_system
def test_it_has_tests(one):
    assert one.tests, "tests/<its folder>/test_<stem>.py is missing"


@each_system
def test_it_builds_on_the_systems_it_imports(one):
    stems = {other.module: other.system.stem for other in SYSTEMS if ".systems." in other.module}
    used = {stems[name] for name in imported(tree_of(one.file), "orrery") if name in stems}
    assert used <= set(one.system.builds_on) <= catalog.systems().keys() - {one.system.stem}


@each_experiment
def test_an_experiment_can_fail(one):
    assert one.area in AREAS
    assert one.question.endswith("?")
    assert one.claims or one.findings
    assert one.controls
    assert one.ablations


@pytest.mark.parametrize("stem", with_record(one.stem for one in EXPERIMENTS))
def test_an_experiment_has_its_record(stem):
    assert stem in catalog.records(), f"orrery record {stem}"


@pytest.mark.parametrize("one", RECORDS, ids=lambda one: one.stem)
def test_a_record_answers_its_experiment(one):
    experiment = catalog.experiments()[one.stem]
    assert experiment.area == one.area
    assert set(one.verdicts) == set(experiment.claims)


def test_the_house_and_the_plan_agree():
    states = system_states()  # raises where a file names an id or a stem that does not exist
    realised = {id_ for one in SYSTEMS for id_ in one.system.realises}
    assert {id_ for id_, one in states.items() if one.state == "works"} == realised
    both = sorted(realised & {id_ for id_, one in load().systems.items() if one.entry})
    assert not both, "what works needs no entry"


def test_claims_named_by_experiments_are_the_plans():
    named = {id_ for one in EXPERIMENTS for id_ in one.claims}
    assert named == {id_ for id_, one in claim_states().items() if one.experiment is not None}
