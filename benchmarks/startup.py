"""Rows 16a and 16b: from a fresh process to help, to a list and to a model's first output.

Alternating processes with a warm disk cache. 16a is against the command of `transformers`, which
prints its help; 16b against nothing but the import of one of its models, before any weight is
made, while ours makes a model and lets it write. A process that only imports torch is the limit.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.side_by_side import fresh, interleave, report

SCRIPTS = Path(sys.executable).parent
COMMANDS = {
    "orrery --help": ("orrery", "--help"),
    "orrery systems": ("orrery", "systems", "--json"),
    "orrery claims": ("orrery", "claims", "--json"),
    "transformers --help": ("transformers", "--help"),
}
FIRST_OUTPUT = """
import torch
from orrery.systems.language.gpt import Gpt, GptConfig
model = Gpt(GptConfig(vocab=96, context=64, depth=2, heads=2, width=64))
start, chance = torch.zeros(1, 1, dtype=torch.long), torch.Generator().manual_seed(0)
print(model.generate(start, 8, generator=chance).tolist())
"""
PEER_IMPORT = "from transformers import LlamaForCausalLM"
MODELS = {
    "orrery first output": FIRST_OUTPUT,
    "transformers import": PEER_IMPORT,
    "torch import": "import torch",
}
AS_FAST = 1 / 0.1  # at most a tenth of the peer's time
MODEL_AS_FAST = 1 / 0.45


def command(name: str) -> Callable[[], str]:
    """A contestant that is a fresh process of an installed command; returns what it prints."""
    program, *words = COMMANDS[name]

    def work() -> str:
        done = subprocess.run(
            [SCRIPTS / program, *words], check=True, capture_output=True, text=True
        )  # fmt: skip
        return done.stdout

    return work


def check_outputs() -> None:
    """Every command prints what it is for: only then does its time count."""
    printed = {name: command(name)() for name in COMMANDS}
    assert "systems" in printed["orrery --help"], printed["orrery --help"]
    assert "usage" in printed["transformers --help"].lower(), printed["transformers --help"]
    for name, key in (("orrery systems", "tier"), ("orrery claims", "chapter")):
        rows = json.loads(printed[name])
        assert len(rows) > 400, f"{name} lists {len(rows)}"
        assert all(key in row for row in rows), f"{name}: a row without {key}"


def main() -> None:
    """Print the lines of rows 16a and 16b."""
    check_outputs()
    timings = interleave({name: command(name) for name in COMMANDS}, rounds=7)
    for name in COMMANDS:
        if name.startswith("orrery"):
            report("16a", f"start-up: {name}", timings, name, AS_FAST, "runs/s",
                   peers=("transformers --help",))  # fmt: skip
    timings = interleave({name: fresh(code) for name, code in MODELS.items()}, rounds=7)
    report("16b", "start-up: a tiny GPT's first output, against the import of a model",
           timings, "orrery first output", MODEL_AS_FAST, "runs/s",
           limit=1 / timings["torch import"].seconds, peers=("transformers import",))  # fmt: skip


if __name__ == "__main__":
    main()
