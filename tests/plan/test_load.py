"""Loading: what a wrong content file says, what a translation does, and that the cache is safe."""

import shutil
from pathlib import Path

import pytest

from orrery import cache
from orrery.errors import OrreryError, UsageError
from orrery.plan.load import load, stale_translations, text_digest
from orrery.plan.model import in_chapter, part_of
from orrery.plan.validate import read_tables

SYSTEM = """
- id: mdl
  name: Minimum description length
  year: 1978
  chapters: ["0.5.1"]
  lines: "1"
  kind: theory
  tier: A
  what_it_must_do: Count bits.
"""
CLAIM = """
- id: best-model
  chapters: ["0.5.1", "13"]
  lines: "2"
  claim: The best model is short.
  kind: mathematical
  testable_small_scale: "yes"
  how_to_test: Count bits.
"""


@pytest.fixture
def content(tmp_path: Path, monkeypatch) -> Path:
    """A plan of one system and one claim, with a cache of its own."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache, "cache_folder", lambda _: tmp_path / "cache")
    for name, text in {
        "en/systems/theory.yaml": SYSTEM,
        "en/claims/a.yaml": CLAIM,
        "paths.yaml": "[]",
    }.items():
        file = tmp_path / "content" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "content"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("systems/theory.yaml", "year: 1978", "year: old", "mdl: year: .* valid integer"),
        ("systems/theory.yaml", "year: 1978", 'year: "1978"', "mdl: year"),
        ("systems/theory.yaml", "tier: A", "tier: Z", "mdl: tier: .*'A', 'B' or 'C'"),
        ("systems/theory.yaml", "tier: A", "teir: A", "mdl: tier: Field required"),
        ("systems/theory.yaml", "tier: A", "tier: A\n  tier: B", "field tier stands twice"),
        ("systems/theory.yaml", "year: 1978", "year: 1978-01-01", "mdl: year"),
        ("systems/theory.yaml", "tier: A", "tier: A\n  more: 1", "mdl: more: Extra inputs"),
        ("systems/theory.yaml", "tier: A", "tier: A\n  depends_on: [x]", "mdl: depends_on: no id"),
        ("systems/theory.yaml", '"0.5.1"', "0.5", "mdl: chapters.0: .* valid string"),
        ("systems/theory.yaml", "- id: mdl", "- id: best-model", "best-model stands in systems"),
        ("systems/theory.yaml", "- id: mdl", "id: mdl", "YAML"),
        ("claims/a.yaml", '"yes"', "yes", "best-model: testable_small_scale"),
        ("claims/a.yaml", "claim: The best model is short.", 'claim: ""', "best-model: claim"),
    ],
)
def test_a_wrong_row_is_one_error_that_names_file_row_and_field(content, file, old, new, said):
    edit(content / "en" / file, old, new)
    with pytest.raises(OrreryError, match=f"{Path(file).name}: .*{said}|{said}"):
        read_tables(content)


def test_a_file_of_an_unknown_area_is_refused(content):
    (content / "en/systems/theory.yaml").rename(content / "en/systems/theori.yaml")
    with pytest.raises(OrreryError, match="theori: no such area"):
        read_tables(content)


def test_a_translation_is_shown_while_its_english_stands(content):
    english = {"claim": "The best model is short."}
    folder = content / "zh/claims"
    folder.mkdir(parents=True)
    digest = text_digest(english, ("claim",))
    (folder / "a.yaml").write_text(f"- id: best-model\n  of: {digest}\n  claim: 最好的模型最短。\n")
    assert load("zh", content).claims["best-model"].claim == "最好的模型最短。"
    assert load("en", content).claims["best-model"].claim == english["claim"]
    assert stale_translations("zh", content) == {}

    edit(content / "en/claims/a.yaml", "is short", "is the shortest")
    load.cache_clear()
    today = text_digest({"claim": "The best model is the shortest."}, ("claim",))
    assert stale_translations("zh", content) == {"best-model": today}
    assert load("zh", content).claims["best-model"].claim == "The best model is the shortest."


def test_a_translation_of_something_else_is_refused(content):
    (content / "zh/claims").mkdir(parents=True)
    (content / "zh/claims/a.yaml").write_text("- id: best-model\n  of: x\n  kind: 数学\n")
    with pytest.raises(OrreryError, match="best-model: translate some of claim, how_to_test"):
        load("zh", content)


def test_an_edit_is_seen_and_nothing_is_read_twice(content, monkeypatch):
    assert load("en", content).systems["mdl"].year == 1978
    edit(content / "en/systems/theory.yaml", "1978", "1979")
    load.cache_clear()
    assert load("en", content).systems["mdl"].year == 1979
    load.cache_clear()
    monkeypatch.setattr("orrery.plan.validate.read_tables", lambda _: pytest.fail("read again"))
    assert load("en", content).systems["mdl"].year == 1979


def test_loading_works_where_nothing_can_be_written(content, monkeypatch):
    def refuse(_: str) -> Path:
        raise UsageError("cannot write")

    monkeypatch.setattr(cache, "cache_folder", refuse)
    assert load("en", content).systems["mdl"].year == 1978


def test_a_moved_checkout_is_another_plan(content, tmp_path):
    load("en", content)
    shutil.copytree(content, tmp_path / "elsewhere")
    edit(tmp_path / "elsewhere/en/systems/theory.yaml", "1978", "1980")
    assert load("en", tmp_path / "elsewhere").systems["mdl"].year == 1980
    assert load("en", content).systems["mdl"].year == 1978


@pytest.mark.parametrize(
    ("chapter", "part"),
    [("0", "0"), ("0.5.1", "0.5"), ("14.1.5", "14"), ("14.7.2", "14.7"), ("11 (9.4)", "11"),
     ("3.6", "3"), ("12 stage 2", "12"), ("map", "map")],
)  # fmt: skip
def test_the_part_of_a_section(chapter, part):
    assert part_of(chapter) == part
    assert in_chapter([chapter], part)
    assert in_chapter(["1.1", chapter], chapter)
    assert part == "0" or not in_chapter([chapter], "0")
