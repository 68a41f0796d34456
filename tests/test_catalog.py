"""The catalog: what is found, and that everything wrong is one clear error."""

import json

import pytest

from orrery import cache, catalog
from orrery.errors import OrreryError, UsageError
from tests.house import EXPERIMENT, RECORD, SYSTEM, VERDICT, build

FILE = "src/orrery/systems/foundations/resnet.py"
DEPTH = "src/orrery/experiments/foundations/depth.py"
JSON = "records/foundations/depth.json"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", lambda kind: tmp_path / kind)
    for kind in ("systems", "experiments", "records"):
        (tmp_path / kind).mkdir()


def test_a_system_is_found_with_its_tests(tmp_path):
    (found,) = catalog.systems(build(tmp_path / "house")).values()
    assert found.system.realises == ("resnet", "residual-connection")
    assert (found.file, found.module) == (FILE, "orrery.systems.foundations.resnet")
    assert found.tests == (
        "tests/systems/foundations/test_resnet.py",
        "tests/systems/foundations/test_resnet_weights.py",
    )


def test_a_test_belongs_to_the_longest_stem(tmp_path):
    longer = SYSTEM.replace('"resnet"', '"resnet_weights"', 1)
    longer = longer.replace('realises=("resnet", "residual-connection")', "realises=()")
    name = "src/orrery/systems/foundations/resnet_weights.py"
    found = catalog.systems(build(tmp_path / "house", {name: longer}))
    assert found["resnet"].tests == ("tests/systems/foundations/test_resnet.py",)
    assert found["resnet_weights"].tests == ("tests/systems/foundations/test_resnet_weights.py",)


def test_an_experiment_is_found_with_what_it_judges(tmp_path):
    (found,) = catalog.experiments(build(tmp_path / "house")).values()
    assert found.question == "Do shortcuts help deep nets?"
    assert found.claims == ("resnet-error",)
    assert found.findings == ("A question of our own.",)
    assert found.controls == ("Both arms train.",)
    assert found.ablations == ("no_shortcut",)
    assert "orrery.systems.foundations.resnet" in found.imports
    assert (found.area, found.stem, found.file) == ("foundations", "depth", DEPTH)


def test_an_experiment_imports_what_its_parts_do(tmp_path):
    folder = "src/orrery/experiments/foundations"
    parts = {
        f"{folder}/_task.py": "from orrery.experiments.foundations._rates import RATE\n",
        f"{folder}/_rates.py": "import orrery.systems.foundations.optimisers\n",
        f"{folder}/depth.py": EXPERIMENT.replace(
            "from orrery.lab",
            "from orrery.experiments.foundations._task import Task\nfrom orrery.lab",
        ),
    }
    (found,) = catalog.experiments(build(tmp_path / "house", parts)).values()
    assert "orrery.systems.foundations.optimisers" in found.imports


def test_a_record_is_found(tmp_path):
    (found,) = catalog.records(build(tmp_path / "house")).values()
    assert (found.stem, found.file, found.verdicts) == ("depth", JSON, {"resnet-error": "fails"})


def test_an_installed_package_has_its_records_inside(tmp_path):
    package = tmp_path / "site-packages" / "orrery"
    package.mkdir(parents=True)
    assert catalog.records_folder(package) == package / "records"
    assert catalog.root(package) == tmp_path / "site-packages"
    assert catalog.checkout(package) is None
    assert (
        catalog.systems(package) == catalog.experiments(package) == catalog.records(package) == {}
    )


def broken(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SYSTEM = System(", "SYSTEM = System(  # x\n    'y',", "name every argument"),
        ("SYSTEM = System(", "SYSTEM: System = System(", "must start 'SYSTEM = System\\('"),
        ('area="foundations", ', "", "area is missing"),
        ('area="foundations", ', 'area="foundations", aera="x", ', "there is no field aera"),
        ('area="foundations"', 'area="theory"', "says theory/resnet"),
        ('stem="resnet"', 'stem="vgg"', "says foundations/vgg"),
        ('stem="resnet"', "stem=1", "stem must be of type str: 1"),
        ("year=2015", "year=date()", "line 2: date\\(\\) must be written out"),
        ("year=2015", 'year="2015"', "year must be of type int: '2015'"),
        ("builds_on=()", 'builds_on=("vgg")', "builds_on must be a tuple of strings: 'vgg'"),
        ("builds_on=()", "builds_on=(", "resnet.py: line"),
        ('"residual-connection"', '"resnet"', "resnet stands twice"),
    ],
)
def test_a_wrong_system_is_one_clear_error(tmp_path, old, new, said):
    package = build(tmp_path / "house", {FILE: broken(SYSTEM, old, new)})
    with pytest.raises(OrreryError, match=f"resnet.py: .*{said}|{said}"):
        catalog.systems(package)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"""Do shortcuts help deep nets?\n\nMore text.\n"""', "", "docstring is missing"),
        ("ABLATIONS = ", "ABLATION = ", "ABLATIONS is missing"),
        ("CLAIMS = (", "CLAIM = (", "CLAIMS is missing"),
        ('Claim("resnet-error", ', "Claim(NAME, ", "NAME must be written out"),
        ("    Claim(", "    Sentence(", "must be a tuple of Claim, Finding, Control"),
        ("SEEDS = 5", "SEEDS = = 5", "line 16"),
    ],
)
def test_a_wrong_experiment_is_one_clear_error(tmp_path, old, new, said):
    package = build(tmp_path / "house", {DEPTH: broken(EXPERIMENT, old, new)})
    with pytest.raises(OrreryError, match=f"depth.py: .*{said}"):
        catalog.experiments(package)


def test_a_file_that_is_no_text_is_one_clear_error_and_an_editor_lock_is_none(tmp_path):
    package = build(tmp_path / "house")
    (tmp_path / "house" / FILE).with_name(".#resnet.py").symlink_to("someone@somewhere")
    assert list(catalog.systems(package)) == ["resnet"]
    (tmp_path / "house" / FILE).write_bytes(b"\xff\xfe")
    catalog.systems.cache_clear()
    with pytest.raises(OrreryError, match=r"resnet\.py: 'utf-8' codec"):
        catalog.systems(package)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stem": "other"}, "it is the record of foundations/other"),
        ({"seconds": -1}, "seconds: Input should be greater"),
        ({"verdicts": [VERDICT | {"verdict": "true"}]}, "verdicts.0.verdict: Input should be"),
    ],
)
def test_a_wrong_record_is_one_clear_error(tmp_path, changed, said):
    package = build(tmp_path / "house", {JSON: json.dumps(RECORD | changed)})
    with pytest.raises(OrreryError, match=f"depth.json: {said}"):
        catalog.records(package)


@pytest.mark.parametrize(
    ("name", "text"), [("nn/resnet.py", SYSTEM), ("metrics/resnet.py", SYSTEM)]
)
def test_a_stem_stands_once_in_the_house(tmp_path, name, text):
    package = build(tmp_path / "house", {f"src/orrery/{name}": text})
    with pytest.raises(
        OrreryError, match=r"resnet stands twice: in .*resnet\.py and in .*resnet\.py"
    ):
        catalog.systems(package)


def test_an_experiment_stands_once_in_the_house(tmp_path):
    other = "src/orrery/experiments/theory/depth.py"
    package = build(tmp_path / "house", {other: EXPERIMENT})
    with pytest.raises(OrreryError, match="depth stands twice"):
        catalog.experiments(package)


def test_an_experiment_is_found_by_name_though_its_neighbour_is_broken(tmp_path):
    package = build(tmp_path / "house", {DEPTH.replace("depth", "width"): "CLAIMS = ("})
    assert catalog.find_experiment("depth", package).stem == "depth"
    assert catalog.find_experiment("foundations/depth", package).area == "foundations"


@pytest.mark.parametrize("name", ["dept", "foundations/dept", "theory/depth", "../depth", ""])
def test_an_unknown_experiment_names_the_nearest(tmp_path, name):
    with pytest.raises(UsageError, match=r"no experiment .* depth"):
        catalog.find_experiment(name, build(tmp_path / "house"))
