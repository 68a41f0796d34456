"""A toy experiment for the tests of the lab: two phases, dropout, a measurement between them."""

from pathlib import Path

import torch
from torch import Tensor, nn

from orrery.lab import Lab, Measured
from orrery.train.checkpoint import newest_checkpoint


class KilledError(Exception):
    """Stands for kill -9: nothing after it runs."""


def work(lab: Lab, steps: int = 6, kill_at: int | None = None, poison: str = "") -> Measured:
    """Two phases of training; `kill_at` counts steps over both."""
    done = 0
    measured: Measured = {}
    for arm in ("a", "b"):
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in lab.steps(arm, steps, state=(model, optimiser)):
            if done == kill_at:
                raise KilledError
            done += 1
            x = torch.randn(8, 3, generator=lab.rng("batch", step))
            loss = _poisoned(model, model(x).square().mean(), poison, step)
            optimiser.zero_grad()
            loss.backward()
            _poison_gradient(model, poison, step)
            optimiser.step()
            lab.log(loss=loss)
        lab.log(weight=model[0].weight.sum())
        measured[f"{arm}/noise"] = lab.measure(f"check-{arm}", noise)["noise"]
        measured[f"{arm}/weight"] = float(model[0].weight.detach().sum())
    return measured


def noise() -> Measured:
    """A measurement that draws from the global generator."""
    return {"noise": torch.rand(()).item()}


def _poisoned(model: nn.Sequential, loss: Tensor, poison: str, step: int) -> Tensor:
    if step == 3 and poison == "loss":
        return loss * float("nan")
    if step == 3 and poison == "weight":
        with torch.no_grad():
            model[2].bias.fill_(float("inf"))
    return loss


def _poison_gradient(model: nn.Sequential, poison: str, step: int) -> None:
    if step == 3 and poison == "gradient":
        model[0].weight.grad[0, 0] = float("nan")


def run_toy(folder: Path, **options: object) -> Measured:
    """One attempt at seed 5 in `folder`, saving after every step."""
    lab = Lab(folder, 5, checkpoint_seconds=0.0)
    try:
        measured = work(lab, **options)  # type: ignore[arg-type]
        lab.finish(measured)
    finally:
        lab.close()
    return measured


def final_state(folder: Path) -> object:
    """The last checkpoint's tensors and the event log's bytes."""
    phases = sorted((folder / "checkpoints").iterdir())
    states = [newest_checkpoint(p)[0].state for p in phases]  # type: ignore[union-attr]
    return states, (folder / "events.jsonl").read_bytes()
