"""An experiment's module, imported and checked: question, claims, settings, scales, run."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from orrery.errors import OrreryError, UsageError
from orrery.lab.claim import Claim, Control, Measured, Question
from orrery.lab.run import Lab
from orrery.lab.scale import SCALES, Scale
from orrery.lab.settings import Settings
from orrery.plan.load import load

DEFAULT_SEEDS = 5
TOUR_SEEDS = 4


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """What `experiments/<area>/<stem>.py` declares."""

    area: str
    stem: str
    question: str
    claims: tuple[Question, ...]
    ablations: tuple[str, ...]
    seeds: int
    scales: Mapping[str, Mapping[str, Any]]
    settings: type[Settings]
    run: Callable[[Any, Lab], Measured]
    draw: Callable[[Sequence[Measured], Any], dict[str, Figure]] | None

    def at_scale(self, scale: Scale, overrides: Mapping[str, Any]) -> Settings:
        """The settings of a scale, with `overrides` on top; `full` is the defaults.

        Raises:
            UsageError: an override is not allowed.
        """
        return self.settings.parse({**self.scales.get(scale, {}), **overrides})

    def default_seeds(self, scale: Scale) -> int:
        """How many seeds a run at `scale` has unless told otherwise."""
        return {"smoke": 2, "tour": min(TOUR_SEEDS, self.seeds)}.get(scale, self.seeds)

    def check_ablation(self, name: str | None) -> None:
        """Refuse an ablation the experiment does not have.

        Raises:
            UsageError: the name is unknown.
        """
        if name is not None and name not in self.ablations:
            allowed = ", ".join(self.ablations)
            raise UsageError(f"ablate={name!r}: {self.stem} has {allowed}")


def load_experiment(area: str, stem: str) -> Runnable:
    """Import an experiment's module and check that it declares what the lab needs.

    Raises:
        OrreryError: a declaration is missing or malformed.
    """
    module: Any = importlib.import_module(f"orrery.experiments.{area}.{stem}")
    where = f"experiments/{area}/{stem}.py"
    claims = tuple(getattr(module, "CLAIMS", ()))
    ablations = tuple(getattr(module, "ABLATIONS", ()))
    if not ablations or not any(isinstance(q, Control) for q in claims):
        raise OrreryError(f"{where}: an experiment needs a Control in CLAIMS, and ABLATIONS")
    if isinstance(claims[0], Control):
        raise OrreryError(f"{where}: the first entry of CLAIMS is the main claim, not a Control")
    unknown = [q.id for q in claims if isinstance(q, Claim) and q.id not in load().claims]
    if unknown:
        raise OrreryError(f"{where}: the plan has no claim {unknown[0]!r}")
    scales = getattr(module, "SCALES", {})
    if "smoke" not in scales or not set(scales) <= set(SCALES):
        raise OrreryError(f"{where}: SCALES needs smoke, and may have tour and large")
    settings = inspect.signature(module.run).parameters["settings"].annotation
    return Runnable(
        area=area, stem=stem, question=(module.__doc__ or "").strip().splitlines()[0],
        claims=claims, ablations=ablations, seeds=getattr(module, "SEEDS", DEFAULT_SEEDS),
        scales=scales, settings=settings, run=module.run, draw=getattr(module, "draw", None),
    )  # fmt: skip
