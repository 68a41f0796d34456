"""What the experiment on speculative decoding needs: readers, whose text it is, and copied code."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from scipy.stats import chi2
from torch import Generator, Tensor

from orrery.lab import Lab, Measured
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.efficiency.speculative_decoding import (
    Accepted,
    ModelDraft,
    Speculation,
    SpeculativeConfig,
    SpeculativeText,
    TextReader,
    accept,
    acceptance_rate,
    tokens_per_pass,
)
from orrery.systems.language.gpt import Gpt
from orrery.systems.language.llama import Llama
from orrery.train.precision import use_fast_products

AHEAD = (1, 2, 4, 8)
BINS = 20


@dataclass(slots=True)
class Tally:
    """What was written in each way, and what it took."""

    texts: dict[str, list[list[int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)


def written(models: dict[str, Gpt], prompts: Tensor, context: int, lab: Lab) -> Measured:
    """Texts in every way, in turns: passes, times, and whose texts they are.

    Args:
        models: target and draft.
        prompts: one a row.
        context: length of each text with its prompt.
        lab: gives chance, and says whether guesses are refused.
    """
    target, draft = models["target"].eval(), models["draft"].eval()
    use_fast_products(target)
    judge = accept_all if lab.ablated("no_rejection") else accept
    start, tally = prompts.shape[1], Tally()
    room = context - start

    def plain(row: Tensor, rng: Generator, temperature: float = 1.0) -> list[int]:
        text = target.generate(row[None], room, generator=rng, temperature=temperature)
        return list(map(int, text[0]))

    def drafted(
        row: Tensor, rng: Generator, ahead: int, temperature: float = 1.0
    ) -> SpeculativeText:
        how = SpeculativeConfig(ahead=ahead, temperature=temperature)
        return Speculation(reader(target), ModelDraft(reader(draft)), how, judge).write(
            row.tolist(), room, rng
        )

    for turn, row in enumerate(prompts):
        for way in ("plain", *AHEAD):
            rng, began = lab.rng(f"{way}", turn), time.process_time()
            if isinstance(way, int):
                found = drafted(row, rng, way)
                tally.passes[f"{way}"] = tally.passes.get(f"{way}", 0) + found.passes
                text = found.tokens
            else:
                text = plain(row, rng)
            spent = time.process_time() - began
            tally.seconds[f"{way}"] = tally.seconds.get(f"{way}", 0.0) + spent
            tally.texts.setdefault(f"{way}", []).append(text)
    greedy, rng = plain(prompts[0], lab.rng("greedy"), 0.0), lab.rng("greedy")
    same = drafted(prompts[0], rng, 4, 0.0).tokens == greedy
    own = draft.generate(prompts.repeat(4, 1), room, generator=lab.rng("own"))
    tally.texts["draft"] = own.tolist()
    return {"greedy/same": float(same), **judged((target, draft), tally, start, room, lab)}


def judged(models: tuple[Gpt, Gpt], tally: Tally, start: int, room: int, lab: Lab) -> Measured:
    """Characters a pass beside what the overlap predicts, times, and misfits."""
    texts, count = tally.texts, len(tally.texts["plain"]) * room
    a = mean_overlap(*models, texts["plain"], start)
    measured: Measured = {"overlap": a}
    for k in AHEAD:
        measured[f"{k}/tokens a pass"] = count / tally.passes[f"{k}"]
        measured[f"{k}/predicted"] = tokens_per_pass(a, k)
    for way, seconds in tally.seconds.items():
        measured[f"{way}/seconds"] = seconds / count
    together = [text for k in AHEAD for text in texts[f"{k}"]]
    for name, some in (("", together), ("plain/", texts["plain"]), ("draft/", texts["draft"])):
        found = misfit(models, some, start, lab.rng("misfit", len(name)))
        measured |= {name + key: value for key, value in found.items()}
    return measured


def reader(model: Gpt | Llama) -> TextReader:
    """Of a text that begins."""
    device = next(model.parameters()).device
    return TextReader(
        torch.no_grad()(
            lambda tokens, cache: model(tokens.to(device), cache=cache).logits[0].cpu()
        ),
        KeyValueCache(),
    )


def accept_all(guesses: Tensor, q: Tensor, p: Tensor, generator: Generator) -> Accepted:
    """Every guess stays: what `accept` is there to prevent."""
    last = torch.multinomial(p[:, -1], 1, generator=generator)
    kept = torch.full((len(guesses),), guesses.shape[1])
    return Accepted(torch.cat([guesses, last], dim=1), kept)


@torch.no_grad()
def laws(model: Gpt, texts: Sequence[Sequence[int]], start: int) -> Tensor:
    """The model's chances of each token from the place `start` on: [n t v]."""
    device = next(model.parameters()).device
    tokens = torch.tensor([list(text[:-1]) for text in texts], device=device)
    return model(tokens).logits[:, start - 1 :].double().softmax(dim=-1).cpu()


def mean_overlap(target: Gpt, draft: Gpt, texts: Sequence[Sequence[int]], start: int) -> float:
    """The mean chance that a drafted token stays, over the texts."""
    return float(acceptance_rate(laws(target, texts, start), laws(draft, texts, start)).mean())


def misfit(
    models: tuple[Gpt, Gpt], texts: Sequence[Sequence[int]], start: int, generator: Generator
) -> Measured:
    """How far texts are from the first model's own: chi-square over its degrees of freedom, and p.

    Args:
        models: whose chances texts are judged by, and another, which they might be drawn from.
        texts: of one length.
        start: where each begins; what is before was given.
        generator: draws the share of each token's own chance.
    """
    p, q = (laws(model, texts, start) for model in models)
    drawn = torch.tensor([list(text[start:]) for text in texts])[..., None]
    ratio, own = p / q, p.gather(-1, drawn)
    before = (p * (ratio < ratio.gather(-1, drawn))).sum(dim=-1, keepdim=True)
    share = torch.rand(own.shape, generator=generator, dtype=own.dtype)
    places = (before + share * own).flatten().clamp(0, 1 - 1e-9)
    counts = (places * BINS).long().bincount(minlength=BINS).double()
    expected = len(places) / BINS
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return {"misfit": statistic / (BINS - 1), "p": float(chi2.sf(statistic, BINS - 1))}
