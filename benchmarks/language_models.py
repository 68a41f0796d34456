"""Rows 2e to 2h: a training step of each decoder with a published layout, against transformers.

Both hold the same weights: ours are written to a folder and read by theirs. Their step is timed in
float32 and under bfloat16 autocast and the faster counts; ours has bfloat16 weights with float32
masters where the processor has bfloat16, else fast float32 products. Scores are compared first in
float32, then the losses of the first step.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpt import orrery, peer
from benchmarks.side_by_side import interleave, report
from orrery.nn.pretrained import Pretrained
from orrery.systems.language.gpt1 import Gpt1, Gpt1Config
from orrery.systems.language.gpt2 import Gpt2, Gpt2Config
from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.mistral import Mistral, MistralConfig
from orrery.train import precision

VOCAB, CONTEXT, BATCH = 1_024, 256, 8
SIZES: dict[str, Any] = {
    "vocab": VOCAB, "context": CONTEXT, "depth": 6, "heads": 6, "width": 384
}  # fmt: skip
DECODER = LlamaConfig(**SIZES, groups=2, inner=1_024)
GOAL = 1.5


def models() -> dict[str, Callable[[], Pretrained]]:
    """By row: ours, about ten million parameters each."""
    return {
        "2e": lambda: Gpt2(Gpt2Config(**SIZES, dropout=0.0)),
        "2f": lambda: Llama(DECODER),
        "2g": lambda: Mistral(MistralConfig(decoder=DECODER, window=CONTEXT // 4)),
        "2h": lambda: Gpt1(Gpt1Config(**SIZES, dropout=0.0)),
    }


class Theirs(nn.Module):
    """The model of transformers with our weights."""

    def __init__(self, ours: Pretrained) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        with tempfile.TemporaryDirectory() as folder:
            ours.save_pretrained(folder)
            self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next token."""
        kept = {} if self.model.config.model_type == "openai-gpt" else {"use_cache": False}
        return self.model(input_ids=tokens, **kept).logits


def compare(row: str, make: Callable[[], Pretrained], *, rounds: int = 7) -> bool:
    """Tokens a second of a training step."""
    torch.manual_seed(0)
    ours = make().train()
    bfloat16 = precision.measured().bfloat16
    x, y = torch.randint(VOCAB, (2, BATCH, CONTEXT))
    peers = {mode: Theirs(ours) for mode in ({False, True} if bfloat16 else {False})}
    with torch.no_grad():
        torch.testing.assert_close(ours(x).logits, peers[False](x), rtol=1e-3, atol=1e-4)
    contestants = {
        f"transformers {'bfloat16' if mode else 'float32'}": peer(one, x, y, bfloat16=mode)
        for mode, one in peers.items()
    }
    contestants["orrery"] = orrery(ours, x, y, bfloat16=bfloat16)
    losses = {name: float(step()) for name, step in contestants.items()}
    tolerance = 2e-2 if bfloat16 else 1e-5
    assert max(losses.values()) - min(losses.values()) < tolerance, losses
    timings = interleave(contestants, rounds=rounds, budget_seconds=120)
    what = f"training step of {type(ours).__name__}, 10M"
    return report(row, what, timings, "orrery", goal=GOAL, unit="tokens/s", work=x.numel())


def main() -> bool:
    """Every model."""
    reached = [compare(row, make) for row, make in models().items()]
    return all(reached)


if __name__ == "__main__":
    main()
