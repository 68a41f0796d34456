"""The record: what a full run of one experiment measured, and how its claims were judged."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Verdict = Literal["holds", "fails", "undecided"]


class Strict(BaseModel):
    """Frozen; an unknown field is an error; so is a NaN or an infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Judgement(Strict):
    """One claim, finding or control, judged over the seeds of a run."""

    id: str | None = None
    """Id of the plan's claim; None for a finding of our own and for a control."""
    text: str
    verdict: Verdict
    effect: float
    """Mean over the seeds, in the claim's own units."""
    margin: float
    """The claim holds when the effect lies above this beyond doubt."""
    low: float | None
    """Lower end of the effect's 95 % interval; None with a single seed."""
    high: float | None
    p: float | None
    """Corrected over the claims of one experiment; None where no test applies."""
    seeds: int = Field(ge=1)
    reason: str
    """One sentence: why this verdict."""


class Record(Strict):
    """`records/<area>/<stem>.json`; written and read with the field `schema` first."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    # "schema" is a deprecated method of pydantic's BaseModel, so the field has another name here.
    schema_version: Literal[1] = Field(1, alias="schema")
    area: str
    stem: str
    question: str
    scale: str
    settings: dict[str, JsonValue]
    seeds: tuple[int, ...]
    commit: str
    created: str
    """ISO 8601, UTC."""
    machine: dict[str, JsonValue]
    versions: dict[str, str]
    seconds: float = Field(ge=0.0)
    """Wall time of all seeds."""
    controls: tuple[Judgement, ...]
    verdicts: tuple[Judgement, ...]
    ablations: dict[str, tuple[Judgement, ...]]
    """By ablation: the same claims, judged with the key idea removed."""
    measured: tuple[dict[str, float], ...]
    """By seed, in the order of `seeds`."""
