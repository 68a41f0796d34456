"""A run in this very process, seed after seed: for tests, debuggers and torchrun."""

from pathlib import Path
from typing import Any

from orrery.catalog import find_experiment
from orrery.lab.claim import Measured
from orrery.lab.experiment import load_experiment
from orrery.lab.run import Lab
from orrery.lab.scale import Scale


def run_inline(
    name: str,
    folder: Path,
    *,
    scale: Scale = "full",
    seed: int = 0,
    ablation: str | None = None,
    checkpoint_seconds: float = 15.0,
    **overrides: Any,
) -> Measured:
    """What one seed of an experiment measures; its files are left in `folder`.

    Args:
        name: stem, or area/stem.
        folder: the seed's folder; one that holds an interrupted attempt is resumed.
        scale: smoke, tour, full or large.
        seed: of every random number.
        ablation: the key idea to remove.
        checkpoint_seconds: how often loops are saved.
        overrides: settings that differ from the scale's.
    """
    found = find_experiment(name)
    experiment = load_experiment(found.area, found.stem)
    experiment.check_ablation(ablation)
    settings = experiment.at_scale(scale, overrides)
    lab = Lab(folder, seed, scale=scale, ablation=ablation, checkpoint_seconds=checkpoint_seconds)
    try:
        measured = experiment.run(settings, lab)
        lab.finish(measured)
    finally:
        lab.close()
    return measured
