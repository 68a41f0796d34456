"""Run by test_distributed.py, alone or under torchrun: trains, resumes, prints its losses.

python -m tests.train.two_processes FOLDER none|ddp|fsdp STEPS [STOP_AFTER]
"""

import contextlib
import json
import sys
from pathlib import Path

import torch
from torch import nn

from orrery.errors import Interrupted
from orrery.lab import Lab
from orrery.train import distributed
from orrery.train.device import prepare


def main(folder: str, how: str, steps: int, stop_after: int) -> None:
    prepare()
    with distributed.process_group(), contextlib.suppress(Interrupted):
        lab = Lab(Path(folder), 3, checkpoint_seconds=0.0)
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
        if how != "none":
            model = distributed.parallel(model, how)
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.02)
        truth = torch.randn(6, 2, generator=lab.rng("truth"))
        for step in lab.steps("fit", steps, state=(model, optimiser)):
            x = torch.randn(16, 6, generator=lab.rng("batch", step))
            x, y = distributed.shard(x), distributed.shard(x @ truth)
            loss = (model(x) - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            lab.log(loss=loss)
            lab.stop_requested = step == stop_after
        lab.finish({"steps": steps})
        lab.close()
        if distributed.rank() == 0:
            events = (Path(folder) / "events.jsonl").read_text().splitlines()
            losses = [json.loads(line)["loss"] for line in events]
            print(json.dumps({"world": distributed.world(), "losses": losses}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int((*sys.argv[4:], -1)[0]))
