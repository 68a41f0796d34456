"""The committed content is the whole plan: every id, no more, and every row validated."""

import hashlib
from collections import Counter

import pytest

from orrery.plan.load import CONTENT, load, stale_translations
from orrery.plan.model import TABLES
from orrery.plan.validate import read_tables, read_translations

PLAN = load()
ROWS = {
    "systems": (481, "d4c4f83541d1fbbd"),
    "claims": (433, "be2fefd9f8527a95"),
    "practice": (173, "bb07dca5141ece84"),
    "guide": (794, "bcf4cc140f9f3f6c"),
}
"""By table: how many rows the specification has, and a digest of its sorted ids."""
SYSTEMS = {
    "foundations": 34, "theory": 31, "heritage": 34, "language": 51, "generative": 69,
    "contrastive": 31, "multimodal": 28, "manifold": 21, "agents": 53, "scaling": 18,
    "worldmodels": 23, "experts": 12, "deepseek": 21, "reasoning": 15, "efficiency": 16,
    "alignment": 14, "symbolic": 10,
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_ids_are_those_of_the_specification(table):
    ids = sorted(getattr(PLAN, table))
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    assert (len(ids), digest) == ROWS[table]


def test_systems_by_area_tier_and_reading_list():
    systems = PLAN.systems.values()
    assert Counter(one.area for one in systems) == SYSTEMS
    assert Counter(one.tier for one in systems) == {"A": 115, "B": 187, "C": 179}
    assert sum(one.top35 for one in systems) == 35


def test_claims_keep_what_their_check_found():
    claims = PLAN.claims.values()
    outcomes = {"confirmed": 229, "partly": 47, "refuted": 2, "unverifiable": 1, None: 154}
    assert Counter(one.outcome for one in claims) == outcomes
    for one in claims:
        checked = (one.corrected, one.source, one.how_checked)
        assert all(checked) or not any(checked), one.id
        assert (one.known == "not yet") == (one.how_checked is None), one.id


def test_a_claim_that_the_plan_gets_wrong_says_what_the_source_says():
    claim = PLAN.claims["ddim-lossless"]
    assert claim.sentence == claim.corrected != claim.claim


def test_every_yaml_file_is_valid_and_the_cache_tells_the_same():
    tables = read_tables(CONTENT)  # raises on an unknown field, area, kind, id or link
    for table in TABLES:
        assert [row["id"] for row in tables[table]] == list(getattr(PLAN, table))


def test_no_file_is_left_out():
    folders = {file.relative_to(CONTENT).parts[1] for file in CONTENT.glob("en/*/*.yaml")}
    assert folders == set(TABLES)


def test_texts_are_plain():
    for row in PLAN.rows.values():
        for text in (getattr(row, name) for name in row.__dataclass_fields__):
            if isinstance(text, str):
                assert text.isascii(), row.id
                assert text == " ".join(text.split()), row.id


def test_paths_lead_through_rows_that_exist():
    chapters = {one.title.split()[0] for one in PLAN.guide.values() if one.type == "chapter"}
    for path in PLAN.paths.values():
        assert PLAN.guide[path.role].type == "nav-role"
        assert PLAN.guide[path.goal].type == "goal"
        assert set(path.chapters) <= chapters
        assert all(block in PLAN.guide for block in path.blocks)


def test_chinese_is_up_to_date_and_chinese():
    assert stale_translations("zh") == {}, "translate these anew and note the digest given"
    translated = read_translations(CONTENT, "zh")
    texts = [text for rows in translated.values() for row in rows for text in row["texts"].values()]
    assert texts
    assert not any(text.isascii() for text in texts)
    chinese = load("zh")
    for table, rows in translated.items():
        for row in rows:
            shown = getattr(chinese, table)[row["id"]]
            assert {name: getattr(shown, name) for name in row["texts"]} == row["texts"]
