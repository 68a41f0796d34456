"""Row 2d: wall time to the held-out loss at which nanoGPT's recipe ends.

The peer runs its recipe to the end of a fixed budget of steps. Ours, of the same width and depth,
on the same batches, runs a share of those steps: `gpt_speedrun`, trained by Muon. They take turns,
so that whatever else the machine does slows both; the ratio of the times counts if our loss is no
higher.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.gpt import TEN_MILLION, plain
from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.data.corpus import Corpus
from orrery.systems.language.gpt import Gpt
from orrery.systems.language.gpt_speedrun import SpeedrunConfig, SpeedrunGpt
from orrery.train import precision
from orrery.train.master import MasterWeights
from orrery.train.muon import Muon, hidden_matrices
from orrery.train.schedule import scale_rates, trapezoid, warmup_cosine

STEPS = 1_000
SHARE = 0.15  # of the peer's steps that ours may take
BATCH = 8
GOAL = 0.4
RATE = 0.01

Batch = tuple[Tensor, Tensor]
Step = Callable[[int, Batch], None]


def nanogpt(model: nn.Module, steps: int, *, bfloat16: bool) -> Step:
    """The character recipe of nanoGPT, its schedule stretched over the budget; no dropout."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = AdamW(groups, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)

    def step(i: int, batch: Batch) -> None:
        precision.use_default_products()
        scale_rates(optimiser, warmup_cosine(i, steps, warmup=min(100, steps // 10)))
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def orrery(model: SpeedrunGpt, steps: int, *, bfloat16: bool) -> Step:
    """Muon for the matrices, AdamW for the tables and norms, in the machine's best mode."""
    groups, rest = hidden_matrices(model)
    masters = MasterWeights(model, torch.bfloat16 if bfloat16 else torch.float32)
    for group in groups:
        group["params"] = masters.of(group["params"])
    muon = Muon(groups, lr=RATE, momentum=0.9, iterate_in=torch.bfloat16 if bfloat16 else None)
    adamw = AdamW(masters.of(rest), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def step(i: int, batch: Batch) -> None:
        precision.use_fast_products(model)
        model.loss(*batch).backward()
        masters.take_gradients()
        for optimiser in (muon, adamw):
            scale_rates(optimiser, trapezoid(i, steps, warmup=steps // 10))
            optimiser.step()
        masters.give_weights()

    return step


def main() -> bool:
    """Train both, ours a share of the steps, and compare losses, then times."""
    bfloat16 = precision.measured().bfloat16
    # ten million parameters where bfloat16 is fast; elsewhere a quarter of them, to end in minutes
    config = TEN_MILLION if bfloat16 else replace(TEN_MILLION, width=192)
    corpus = Corpus.from_split(shakespeare.split())
    config = replace(config, vocab=len(corpus.characters))
    torch.manual_seed(0)
    theirs = plain(Gpt(config))
    ours = SpeedrunGpt(SpeedrunConfig(
        vocab=config.vocab, context=config.context, depth=config.depth, heads=config.heads,
        width=config.width,
    ))  # fmt: skip
    ours_steps = round(SHARE * STEPS)
    runs = {
        "plain": (nanogpt(theirs, STEPS, bfloat16=bfloat16), STEPS),
        "orrery": (orrery(ours, ours_steps, bfloat16=bfloat16), ours_steps),
    }
    seconds = take_turns(runs, corpus.training, config.context)
    held_out = sample_windows(corpus.held_out, config.context, 64, torch.Generator().manual_seed(1))
    losses = {"plain": loss(theirs, held_out), "orrery": loss(ours, held_out)}
    ratio = seconds["orrery"] / seconds["plain"]
    reached = losses["orrery"] <= losses["plain"] and ratio <= GOAL
    print(json.dumps({
        "row": "2d", "what": f"time to a loss, width {config.width}, {STEPS} steps of the peer",
        "ratio": round(ratio, 3), "goal": GOAL, "reached": reached,
        "best_peer": "nanoGPT's recipe", "share_of_limit": None, "contended": [],
        "losses": {k: round(v, 4) for k, v in losses.items()},
        "seconds": {k: round(v, 1) for k, v in seconds.items()},
    }), flush=True)  # fmt: skip
    return reached


def take_turns(runs: dict[str, tuple[Step, int]], tokens: Tensor, context: int) -> dict[str, float]:
    """Seconds of each run; after every step of the longest each is as far on its way."""
    seconds, done = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0)
    for turn in range(1, STEPS + 1):
        for name, (step, steps) in runs.items():
            while done[name] < round(turn * steps / STEPS):
                i = done[name]
                batch = sample_windows(tokens, context, BATCH, torch.Generator().manual_seed(i))
                start = time.perf_counter()
                step(i, batch)
                seconds[name] += time.perf_counter() - start
                done[name] += 1
    return seconds


@torch.no_grad()
def loss(logits: Callable[[Tensor], Tensor], held_out: Batch) -> float:
    """Mean loss on held-out windows, in nats."""
    x, y = held_out
    return float(F.cross_entropy(logits(x).float().flatten(0, 1), y.flatten()))


if __name__ == "__main__":
    main()
