"""The plan's tables as plain dataclasses, so that a look-up does not wait for pydantic to load.

`validate.py` holds the YAML files against these types; nothing unchecked reaches them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Area = Literal[
    "foundations", "theory", "heritage", "language", "generative", "contrastive", "multimodal",
    "manifold", "agents", "scaling", "worldmodels", "experts", "deepseek", "reasoning",
    "efficiency", "alignment", "symbolic",
]  # fmt: skip
Tier = Literal["A", "B", "C"]
SystemKind = Literal[
    "model", "technique", "theory", "algorithm", "benchmark", "tool", "agent", "metric", "history"
]
ClaimKind = Literal["quantitative", "qualitative", "mathematical", "historical"]
Outcome = Literal["confirmed", "partly", "refuted", "unverifiable"]
Known = Literal["derivation", "literature", "not yet"]

AREAS: tuple[Area, ...] = get_args(Area)
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What every row of the plan has."""

    id: str
    """Stable; unique over all four tables."""
    chapters: tuple[str, ...]
    lines: str
    """Lines of the plan's source text this row stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSystem(Planned):
    """A model, algorithm, agent, metric or theory that the plan names."""

    area: Area
    name: str
    year: int
    kind: SystemKind
    tier: Tier
    """A: must work first. B: must work. C: small but working, a block, or an honest entry."""
    what_it_must_do: str
    depends_on: tuple[str, ...] = ()
    top35: bool = False
    """On the plan's reading list of 35."""
    entry: str | None = None
    """Where nothing can run: what cannot be reproduced, why, and what stands for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedClaim(Planned):
    """One checkable sentence of the plan, and what is known about it without running anything."""

    claim: str
    """What the plan says, with the plan's figures."""
    kind: ClaimKind
    testable_small_scale: Literal["yes", "partly", "no"]
    how_to_test: str
    suspicion: str | None = None
    """What the first reader found doubtful."""
    outcome: Outcome | None = None
    """Of checking the suspicion: confirmed means that the plan is wrong or imprecise."""
    corrected: str | None = None
    """The right statement; where it is given, the suspicion no longer counts."""
    source: str | None = None
    how_checked: str | None = None

    @property
    def sentence(self) -> str:
        """What is to be tested: the plan's words, or the source's where the plan is wrong."""
        return self.corrected or self.claim

    @property
    def known(self) -> Known:
        """How far the claim is settled without a run: derived, read, or only remembered."""
        methods = re.findall(r"\b(derived|read)\b", re.sub(r"\(.*?\)", "", self.how_checked or ""))
        if not methods:
            return "not yet"
        return "derivation" if methods[0] == "derived" else "literature"


@dataclass(frozen=True, kw_only=True, slots=True)
class PracticeTask(Planned):
    """A mastery check, a minimal experiment, a roadmap step or a capstone."""

    task: str
    deliverable: str
    systems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GuideEntry(Planned):
    """A piece of the guide: a path, a question, a date, an argument, an open problem ..."""

    type: str
    title: str
    content: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningPath:
    """A way through the plan: who walks it, towards what, week by week, then which chapters."""

    name: str
    role: str
    goal: str
    blocks: tuple[str, ...]
    chapters: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """The texts of one row in another language."""

    id: str
    of: str
    """Digest of the English texts this was made from (see `text_digest`)."""
    texts: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All tables, by id, in the plan's order."""

    systems: dict[str, PlannedSystem]
    claims: dict[str, PlannedClaim]
    practice: dict[str, PracticeTask]
    guide: dict[str, GuideEntry]
    paths: dict[str, LearningPath]

    @property
    def rows(self) -> dict[str, Planned]:
        """Every row of the four tables."""
        return {**self.systems, **self.claims, **self.practice, **self.guide}


TABLES: dict[str, type[Planned]] = {
    "systems": PlannedSystem,
    "claims": PlannedClaim,
    "practice": PracticeTask,
    "guide": GuideEntry,
}
TRANSLATED: dict[str, tuple[str, ...]] = {
    "systems": ("name", "what_it_must_do", "entry"),
    "claims": ("claim", "how_to_test", "corrected", "source"),
    "practice": ("task", "deliverable"),
    "guide": ("title", "content"),
}
"""By table: the fields a translation may give."""


def part_of(chapter: str) -> str:
    """The top-level chapter a section belongs to: 0.5 for 0.5.1, 14 for 14.1.5, 11 for 11 (9.4)."""
    found = re.match(r"0\.5|0\.8|14\.7|\d+", chapter)
    return found.group() if found else chapter


def in_chapter(chapters: Iterable[str], asked: str) -> bool:
    """Whether one of `chapters` is the asked chapter or a section of it; 0.5 is none of 0."""
    return any(
        asked == part_of(chapter)
        or chapter == asked
        or (asked != "0" and chapter.startswith((f"{asked}.", f"{asked} ")))
        for chapter in chapters
    )
