"""What an experiment on heads of keys needs: plays as tokens, fewer heads, caches on the scales."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.inference.generation import generate
from orrery.lab import Lab, Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.bpe import BpeConfig
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train as train_bpe
from orrery.systems.language.llama import Llama
from orrery.systems.language.llama2 import cache_bytes, with_groups

Windows = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plays:
    """Tokens to learn from, and windows of other plays."""

    text: Tensor
    choosing: Windows
    """Nothing is judged by them."""
    judging: Windows

    @classmethod
    def load(cls, characters: int, vocab: int, context: int, windows: int, lab: Lab) -> "Plays":
        """So much of the text, from a place drawn at random; each half of the rest has windows."""
        text, held_out = shakespeare.split()
        start = int(lab.numpy_rng("text").integers(max(1, len(text) - characters)))
        text = text[start : start + characters]
        bpe = FastBpe(train_bpe([text[:500_000]], BpeConfig(vocab=vocab)))
        half = len(held_out) // 2
        learnt, *parts = (
            torch.from_numpy(bpe.encode_array(part)).long().to(lab.device)
            for part in (text, held_out[:half], held_out[half:])
        )
        choosing, judging = (
            sample_windows(part, context, windows, lab.rng("held out", i))
            for i, part in enumerate(parts)
        )
        return cls(text=learnt, choosing=choosing, judging=judging)


@torch.no_grad()
def averaged(model: Llama, groups: int) -> Llama:
    """The model with fewer heads of keys and values, each the mean of those it stands for."""
    c, state = model.config, model.state_dict()
    for name, weight in state.items():
        if name.endswith("attention.qkv.weight"):
            q, *both = model.parts(name, weight, 3)
            heads = (part.unflatten(0, (groups, -1, c.size)).mean(1).flatten(0, 1) for part in both)
            state[name] = torch.cat([q, *heads])
    fewer = Llama(with_groups(c, groups)).to(model.embed.weight.device)
    fewer.load_state_dict(state)
    return fewer


def weigh(model: Llama, prompt: Tensor, count: int) -> Measured:
    """Bytes of the cache after writing `count` tokens, and what the calculator says of as many."""
    cache = model.cache()
    written = generate(model, prompt[None], cache=cache, max_new_tokens=count)
    numbers = [*cache.keys, *cache.values]
    kept = written.shape[1] - 1  # the last token was written, not read
    return {
        "bytes": float(sum(part.numel() * part.element_size() for part in numbers)),
        "calculated": float(cache_bytes(model.config, kept, bytes_per_number=4)),
    }


@torch.no_grad()
def token_seconds(models: dict[str, Llama], text: Tensor, long: int, rounds: int) -> Measured:
    """Median of the processor's time for one more token after `long` others, models in turns."""
    text = text[None].repeat(1, 1 + long // len(text))
    caches, spent = {arm: model.cache() for arm, model in models.items()}, dict[str, list[float]]()
    for arm, model in models.items():
        model.read(text[:, :long], cache=caches[arm])
    for turn in range(rounds + 1):
        for arm, model in models.items():
            caches[arm].cut(long)
            start = time.process_time()
            model(text[:, :1], cache=caches[arm])
            if turn:  # the first is a warm-up
                spent.setdefault(arm, []).append(time.process_time() - start)
    return {f"{arm}/seconds": statistics.median(values) for arm, values in spent.items()}


def pictured(results: Sequence[Measured], arms: Sequence[str], long: int) -> Figure:
    """What each loses against the first, and what a token's time and a cache are beside its."""
    figure, (left, right) = new_figure(7.2, 3.2, columns=2)
    names = (*arms[1:], "averaged", "learnt on")
    lost = [{name: m[f"{name}/loss"] - m[f"{arms[0]}/loss"] for name in names} for m in results]
    mean, half = over_seeds(lost, names)
    left.bar(names, mean, yerr=half, color=COLOURS[0], ecolor="#9aa0aa")
    left.axhline(0, color="#9aa0aa")
    left.set(title="Unseen plays", ylabel=f"nats a token above {arms[0]}")
    shares = [
        {f"{a}/{what}": m[f"{a}/{what}"] / m[f"{arms[0]}/{what}"]
         for a in arms for what in ("seconds", "bytes")}
        for m in results
    ]  # fmt: skip
    for i, (what, label) in enumerate((("seconds", "a token's time"), ("bytes", "the cache"))):
        mean, half = over_seeds(shares, [f"{arm}/{what}" for arm in arms])
        places = [k + 0.4 * i for k in range(len(arms))]
        right.bar(places, mean, 0.38, yerr=half, color=COLOURS[i], ecolor="#9aa0aa", label=label)
    right.set_xticks([k + 0.2 for k in range(len(arms))], arms)
    right.set(title=f"{long} tokens in the cache", ylabel=f"share of {arms[0]}'s", ylim=(0, 1.1))
    right.legend()
    return figure
