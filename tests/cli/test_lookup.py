"""`orrery systems, show, claims, plan`: what they list, in words and in JSON."""

import json
from functools import partial

import pytest

from orrery import cache, catalog
from orrery.cli import claims, plan, show, systems
from orrery.errors import UsageError
from orrery.plan.load import load
from orrery.plan.state import claim_states, system_states
from tests.house import VERDICT, build

COMMANDS = {"systems": systems, "show": show, "claims": claims, "plan": plan}


def asked(capsys, command: str, *argv: str) -> str:
    assert COMMANDS[command].main(list(argv)) == 0
    return capsys.readouterr().out


def rows(capsys, command: str, *argv: str) -> list[dict]:
    return json.loads(asked(capsys, command, *argv, "--json"))


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house where one claim has failed and two systems work."""
    monkeypatch.setattr(cache, "cache_folder", lambda kind: tmp_path)
    package = build(tmp_path / "house")
    for module in (systems, show, claims, plan):
        for function in (system_states, claim_states):
            if hasattr(module, function.__name__):
                monkeypatch.setattr(module, function.__name__, partial(function, package=package))
    for read in (catalog.systems, catalog.experiments, catalog.records):
        found = read(package)
        monkeypatch.setattr(catalog, read.__name__, lambda _=None, found=found: found)
    monkeypatch.setattr(catalog, "root", lambda: tmp_path / "house")


def test_systems_lists_them_all(capsys):
    found = rows(capsys, "systems")
    assert [row["id"] for row in found] == list(load().systems)
    needed = ("id", "area", "tier", "state", "file", "tests", "experiments", "records")
    assert all(row.keys() >= set(needed) for row in found)


def test_systems_can_be_filtered(capsys, house):
    found = rows(capsys, "systems", "--state", "works")
    assert {row["id"] for row in found} == {"resnet", "residual-connection"}
    assert {row["file"] for row in found} == {"src/orrery/systems/foundations/resnet.py"}
    assert found[0]["tests"][0] == "tests/systems/foundations/test_resnet.py"
    assert found[0]["experiments"] == ["depth"]
    assert found[0]["records"] == ["records/foundations/depth.json"]
    both = rows(capsys, "systems", "--area", "manifold", "--tier", "A", "--state", "missing")
    assert both
    assert {(row["area"], row["tier"], row["state"]) for row in both} == {
        ("manifold", "A", "missing")
    }


def test_a_query_finds_names_before_descriptions(capsys):
    assert "tsne" in {row["id"] for row in rows(capsys, "systems", "SNE")}
    by_description = rows(capsys, "systems", "perplexity", "calibration")
    assert all("perplexity" in row["what_it_must_do"].lower() for row in by_description)
    assert rows(capsys, "systems", "no such thing") == []


def test_claims_lists_them_all(capsys):
    found = rows(capsys, "claims")
    assert [row["id"] for row in found] == list(load().claims)
    needed = ("id", "chapter", "state", "verdict", "experiment", "record")
    assert all(row.keys() >= set(needed) for row in found)


def test_claims_by_verdict_state_and_chapter(capsys, house):
    (found,) = rows(capsys, "claims", "--verdict", "fails")
    assert (found["id"], found["state"], found["experiment"]) == ("resnet-error", "tested", "depth")
    assert found["record"] == "records/foundations/depth.json"
    assert rows(capsys, "claims", "--verdict", "holds") == []
    assert {row["state"] for row in rows(capsys, "claims", "--state", "not yet")} == {"not yet"}
    for chapter in ("3", "3.4", "11 (9.4)"):
        chapters = [row["chapter"] for row in rows(capsys, "claims", "--chapter", chapter)]
        assert chapters
        assert all(chapter.split()[0] in words for words in chapters)
    assert {row["chapter"] for row in rows(capsys, "claims", "--chapter", "0")} == {"0"}


def test_show_a_claim_with_its_measurement(capsys, house):
    text = asked(capsys, "show", "resnet-error")
    assert "effect -0.25, interval [-0.5, -0.125], must exceed 0, 5 seeds" in " ".join(text.split())
    (found,) = rows(capsys, "show", "resnet-error")
    assert (found["is"], found["judgement"]) == ("claim", VERDICT)


def test_show_names_of_every_kind(capsys, house):
    for name, kind in {
        "resnet": "system",
        "depth": "experiment",
        "mve-gan": "practice",
        "navrole-03": "guide",
        "sigmoid-quarter": "claim",
    }.items():
        assert [row["is"] for row in rows(capsys, "show", name)] == [kind]
        assert name in asked(capsys, "show", name)


def test_show_says_what_a_missing_name_is_like():
    with pytest.raises(UsageError, match=r"nothing is called 'resnett'; did you mean resnet"):
        show.main(["resnett"])


def test_plan_walks_a_path_in_order(capsys):
    found = rows(capsys, "plan", "--path", "engineer")
    ids = [row["id"] for row in found]
    assert ids[:4] == ["navrole-03", "goal-02", "path-05", "pathB-start"]
    chapters = [row["title"].split()[0] for row in found if row["type"] == "chapter"]
    assert chapters == ["1", "2", "7", "10", "11"]
    assert len(ids) == len(set(ids))
    assert {row["state"] for row in found if row["type"] == "system"} <= {
        "works",
        "missing",
        "entry",
    }


@pytest.mark.parametrize("path", load().paths)
def test_every_path_can_be_walked(capsys, path):
    assert load().guide[load().paths[path].role].title in asked(capsys, "plan", "--path", path)


def test_plan_lists_the_whole_guide(capsys):
    found = rows(capsys, "plan")
    assert [row["id"] for row in found] == [*load().guide, *load().practice]
    readings = rows(capsys, "plan", "--type", "reading")
    assert {row["type"] for row in readings} == {"reading"}
    assert len(readings) == 35
    assert "engineer" in asked(capsys, "plan")


@pytest.mark.parametrize(
    ("command", "argv", "said"),
    [
        ("systems", ["--area", "manifolds"], "foundations, theory, .*did you mean manifold"),
        ("systems", ["--tier", "D"], "'D' is none of A, B, C"),
        ("systems", ["--state", "work"], "works, entry, missing; did you mean works"),
        ("claims", ["--state", "test"], "tested, derivation, literature, not yet"),
        ("claims", ["--verdict", "hold"], "holds, fails, undecided"),
        ("claims", ["--chapter", "99"], "no claim in '99'; chapters are 0, 0.5"),
        ("plan", ["--path", "enginer"], "beginner, engineer.*did you mean engineer"),
        ("plan", ["--type", "debate"], "debate-argument"),
        ("show", [], "name"),
        ("show", ["resnet", "--jsn"], "unknown argument '--jsn'.*--json"),
        ("systems", ["--language", "fr"], "'fr' is none of en, zh"),
    ],
)
def test_a_value_that_is_not_allowed_is_one_line_that_says_what_is(command, argv, said):
    with pytest.raises(UsageError, match=said) as caught:
        COMMANDS[command].main(argv)
    assert "\n" not in str(caught.value)
