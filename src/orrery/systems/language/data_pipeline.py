"""The data pipeline: from what was collected to what is worth reading, stage by stage.

Source: the stages and their order are those of Rae et al. 2021 (Gopher), arXiv:2112.11446,
appendix A.1: language, quality, repetition, near-duplicates, the test set; Penedo et al. 2024
(FineWeb), arXiv:2406.17557, measures each by the loss of a small model before and after.
Differs from the papers: near-duplicates are sought last but for the test set, in one go; every
stage can be left out.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from orrery.catalog import System
from orrery.systems.language.decontamination import Decontamination
from orrery.systems.language.language_id import LanguageId
from orrery.systems.language.minhash import MinHash, MinHashConfig
from orrery.systems.language.quality_filter import QualityConfig, Surprise, broken_rule

SYSTEM = System(
    stem="data_pipeline", area="language", title="Data pipeline", year=2021,
    papers=("arXiv:2112.11446", "arXiv:2406.17557"),
    builds_on=("decontamination", "language_id", "minhash", "quality_filter"),
    realises=("data-pipeline",),
)  # fmt: skip

STAGES = ("language", "rules", "surprise", "duplicates", "held out")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPipelineConfig:
    """What is kept."""

    language: str = "English"
    quality: QualityConfig = field(default_factory=QualityConfig)
    most_bits: float = 3.5
    """Bits a character under the model of clean text, at most."""
    minhash: MinHashConfig = field(default_factory=MinHashConfig)

    def __post_init__(self) -> None:
        if self.most_bits <= 0:
            raise ValueError(f"most_bits must be positive, got {self.most_bits}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """What became of each document, by its place in what was collected."""

    kept: tuple[int, ...]
    dropped: Mapping[int, str]
    """The stage that dropped it, and for a broken rule which."""

    def counts(self) -> dict[str, int]:
        """Documents that each stage dropped, and that were kept."""
        by_stage = Counter(reason.split(": ")[0] for reason in self.dropped.values())
        return {stage: by_stage[stage] for stage in STAGES} | {"kept": len(self.kept)}


class DataPipeline:
    """All stages, with what each has to know beforehand."""

    def __init__(
        self, config: DataPipelineConfig, *, languages: LanguageId, clean: Surprise,
        held_out: Decontamination, generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self.config = config
        self._languages, self._clean, self._held_out = languages, clean, held_out
        self._minhash = MinHash(config.minhash, generator)

    def run(self, documents: Sequence[str], *, left_out: Collection[str] = ()) -> Cleaned:
        """Send documents through every stage but those left out.

        Raises:
            ValueError: there is no such stage.
        """
        unknown = set(left_out) - set(STAGES)
        if unknown:
            raise ValueError(f"left_out must be of {', '.join(STAGES)}; got {min(unknown)!r}")
        dropped = {
            place: reason
            for place, text in enumerate(documents)
            if (reason := self._objection(text, left_out)) is not None
        }
        left = [place for place in range(len(documents)) if place not in dropped]
        if "duplicates" not in left_out:
            first = {left[i] for i in self._minhash.kept([documents[place] for place in left])}
            dropped |= dict.fromkeys((place for place in left if place not in first), "duplicates")
        if "held out" not in left_out:
            for place in left:
                if place not in dropped and self._held_out.shared(documents[place]) > 0:
                    dropped[place] = "held out"
        return Cleaned(kept=tuple(place for place in left if place not in dropped), dropped=dropped)

    def _objection(self, text: str, left_out: Collection[str]) -> str | None:
        """The first stage that drops a document for what it is itself."""
        config = self.config
        if "language" not in left_out and self._languages.best(text) != config.language:
            return "language"
        rule = None if "rules" in left_out else broken_rule(text, config.quality)
        if rule is not None:
            return f"rules: {rule}"
        if "surprise" not in left_out and self._clean.bits(text) > config.most_bits:
            return "surprise"
        return None
