"""Run by test_model_parallel.py under torchrun: one tower in each process, gradients to a file.

python -m tests.systems.foundations.two_towers FOLDER
"""

import sys
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from orrery.systems.foundations.model_parallel import Tower, in_processes, share_of
from orrery.train import distributed
from tests.systems.foundations.test_model_parallel import CONFIG


def main(folder: Path) -> None:
    with distributed.process_group():
        rank = distributed.rank()
        given = load_file(folder / "given.safetensors")
        images, labels = given.pop("images"), given.pop("labels")
        tower = Tower(CONFIG).double()
        tower.load_state_dict(share_of(given, rank))
        logits = in_processes(tower, images)
        F.cross_entropy(logits, labels).backward()
        found = {name: p.grad for name, p in tower.named_parameters()}
        save_file(found | {"logits": logits.detach()}, folder / f"tower{rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
