"""A ladder of small GPTs that differ in width alone, and one training curve for each.

A rung is trained once, at a constant rate, and scored at many token counts on the way. A running
mean of its weights over the last tenth or so of the steps is what is scored: it stands in for the
decay of the learning rate that would otherwise take a run for each token count (Haegele et al.
2024, arXiv:2405.18392, find that averaged and decayed runs scale alike).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from orrery.data.batches import sample_windows
from orrery.data.corpus import Corpus
from orrery.lab import Lab, Measured
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.scaling.compute_6nd import Shape, training_compute, training_operations
from orrery.train.ema import Ema
from orrery.train.muon import Muon, hidden_matrices
from orrery.train.schedule import scale_rates

INITIAL = 0.02  # standard deviation with which a Gpt starts
AVERAGED_EVERY = 4  # steps; the mean is over a share of all steps, whatever their number
CHUNK = 128  # windows that are scored together


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What all rungs have in common."""

    depth: int
    heads: int
    context: int
    batch: int
    rate: float
    """Learning rate of a rung of width 1; others get it divided by their width."""
    warmup: int

    @property
    def lump(self) -> int:
        """Tokens in a batch."""
        return self.batch * self.context


class Curve(dict[int, float]):
    """Held-out loss by tokens seen; survives a restart."""

    def state_dict(self) -> dict[int, float]:
        """All of it."""
        return dict(self)

    load_state_dict = dict.update


def climb(
    width: int, tokens: Sequence[float], recipe: Recipe, corpus: Corpus, windows: Tensor, lab: Lab
) -> Curve:
    """Train one rung and score it on `windows` after each of the token counts.

    Muon and AdamW share a rate that falls as 1 / width, so that no width is tuned better than
    another; every rung sees the same batches.
    """
    model = rung(width, len(corpus.characters), recipe).to(lab.device)
    matrices, rest = hidden_matrices(model)
    rate = recipe.rate / width
    muon = Muon(matrices, lr=rate, weight_decay=0.0)
    adamw = AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    mean, curve = Ema(model, decay=0.9999), Curve()
    stops = {max(1, round(count / recipe.lump)) for count in tokens}
    state = (model, muon, adamw, mean, curve)
    for step in lab.steps(f"width-{width}", max(stops), state=state):
        x, y = sample_windows(corpus.training, recipe.context, recipe.batch, lab.rng("batch", step))
        loss = model.loss(x.to(lab.device), y.to(lab.device))
        model.zero_grad()
        loss.backward()
        for optimiser in (muon, adamw):
            scale_rates(optimiser, min(1.0, (step + 1) / recipe.warmup))
            optimiser.step()
        if step % AVERAGED_EVERY == 0:
            mean.update(model)
        if step + 1 in stops:
            curve[(step + 1) * recipe.lump] = score(mean.model, windows)
            lab.log(held_out=curve[(step + 1) * recipe.lump])
    return curve


def rung(width: int, vocab: int, recipe: Recipe) -> Gpt:
    """A GPT whose weights and positions start so that few tokens teach it much.

    Matrices start at 1 / sqrt(width) in place of one size for all widths, and positions as
    sinusoids (Vaswani et al. 2017, section 3.5), with which the character before is easy to find.
    """
    model = Gpt(GptConfig(
        vocab=vocab, context=recipe.context, depth=recipe.depth, heads=recipe.heads, width=width
    ))  # fmt: skip
    with torch.no_grad():
        for matrix in (p for p in model.parameters() if p.ndim == 2):
            matrix.mul_(width**-0.5 / INITIAL)
        if model.place is not None:
            # a sinusoid's mean square is a half: twice the size of the characters' vectors
            model.place.weight.copy_(sinusoids(recipe.context, width) * (8 / width) ** 0.5)
    return model


def sinusoids(context: int, width: int) -> Tensor:
    """Sines, then cosines, of the place at wavelengths from 2 pi up to a thousand times that."""
    even = torch.arange(0, width, 2)
    angle = torch.arange(context)[:, None] * torch.exp(-math.log(1_000) * even / width)
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]


@torch.no_grad()
def score(model: Gpt, windows: Tensor) -> float:
    """Mean loss in nats a token."""
    parts = [model.loss(part[:, :-1], part[:, 1:]) * len(part) for part in windows.split(CHUNK)]
    return float(torch.stack(parts).sum()) / len(windows)


def shuffled(corpus: Corpus, lab: Lab) -> Corpus:
    """The same characters as often, in no order at all."""
    training, held_out = (
        part[torch.randperm(len(part), generator=lab.rng("shuffle", i), device=lab.device).cpu()]
        for i, part in enumerate((corpus.training, corpus.held_out))
    )
    return Corpus(corpus.characters, training, held_out)


def frequencies_loss(corpus: Corpus, targets: Tensor) -> float:
    """Loss, in nats, of guessing by how frequent each character is in the training part."""
    counts = torch.bincount(corpus.training, minlength=len(corpus.characters)).double() + 0.5
    return float(-(counts / counts.sum()).log()[targets.cpu()].mean())


def operations(models: Mapping[int, Gpt], shapes: Mapping[int, Shape]) -> Measured:
    """Operations of a training step as counted, over 6 N D and over all terms; extremes of them."""
    over_rule, over_terms = [], []
    for width, model in models.items():
        shape = shapes[width]
        tokens = torch.zeros(1, shape.context, dtype=torch.long)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.loss(tokens, tokens).backward()
        counted = counter.get_total_flops() / tokens.numel()
        over_rule.append(counted / training_compute(shape.parameters, 1))
        over_terms.append(abs(counted / training_operations(shape).total - 1))
    return {
        "operations/over 6ND, narrowest": over_rule[0],
        "operations/over 6ND, widest": over_rule[-1],
        "operations/off by": max(over_terms),
    }
