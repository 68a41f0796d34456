"""Queries, keys and values of every head, taken out of a model while it reads a sentence.

Source: Alammar 2018, "The Illustrated Transformer", for the steps (query, scores, softmax, weighted
sum); Vig 2019, arXiv:1906.05714, section 2, for lines from word to word, a small map for each
head and the vectors behind a weight. `orrery illustrate` makes the page.
Differs from the papers: nothing is drawn by hand, all numbers are recorded in one run of a model
of this house; where none that others trained is at hand, a small BERT learns the one sentence.

Symbols: l layers, h heads, t words, k numbers a head; z = weights v, what a head hands on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import attention_weights, causal_bias
from orrery.nn.multi_head import MultiHeadAttention
from orrery.systems.language.bert import BertConfig, BertMaskedLm

SYSTEM = System(
    stem="illustrated_transformer", area="language", title="The Illustrated Transformer",
    year=2018, papers=("Alammar 2018, The Illustrated Transformer", "arXiv:1906.05714"),
    builds_on=("bert",), realises=("illustrated-transformer",),
)  # fmt: skip

Vectors = Float[Tensor, "l h t k"]
Squares = Float[Tensor, "l h t t"]
Tokens = Int[Tensor, "1 t"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Insides:
    """What the heads of a model made of one text."""

    q: Vectors
    k: Vectors
    v: Vectors
    scores: Squares
    """Before the softmax: q k' / sqrt(size of a head), minus infinity where a mask hides a word."""
    weights: Squares
    z: Vectors


@torch.no_grad()
def look_inside(model: nn.Module, run: Callable[[], object]) -> Insides:
    """Record every self-attention of a model, layer by layer, while `run` runs.

    Args:
        model: has layers of `MultiHeadAttention`, all of one size; others are left out.
        run: lets the model read one text, once.

    Raises:
        ValueError: the model has no self-attention that ran, or read more than one text.
    """
    found: list[dict[str, Tensor]] = []

    def record(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
        assert isinstance(module, MultiHeadAttention)
        if len(given) == 1 and named.get("source") is None:
            found.append(_parts(module, given[0], named))

    layers = [one for one in model.modules() if isinstance(one, MultiHeadAttention)]
    hooks = [one.register_forward_hook(record, with_kwargs=True) for one in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError("model must have self-attention that runs, and none did")
    texts = found[0]["q"].shape[0]
    if texts != 1:
        raise ValueError(f"run must read 1 text, got {texts}")
    return Insides(**{name: torch.cat([one[name] for one in found]) for name in found[0]})


def _parts(module: MultiHeadAttention, x: Tensor, named: dict[str, Any]) -> dict[str, Tensor]:
    """The steps of one layer, made once more from what it was given."""
    how = {name: named.get(name) for name in ("bias", "scale")}
    causal = bool(named.get("causal"))
    q, k, v = module.project(x, None, None, 0)
    scale = q.shape[-1] ** -0.5 if how["scale"] is None else how["scale"]
    scores = q @ k.transpose(-2, -1) * scale
    if how["bias"] is not None:
        scores = scores + how["bias"]
    if causal:
        scores = scores + causal_bias(scores.shape[-2], scores.shape[-1], q)
    weights = attention_weights(q, k, causal=causal, **how)
    return {"q": q, "k": k, "v": v, "scores": scores, "weights": weights, "z": weights @ v}


def by_heart(words: int, *, steps: int = 120, seed: int = 0) -> BertMaskedLm:
    """A small BERT that learned one text of so many words: to tell any of them from the others.

    Args:
        words: the text is the tokens 1, 2, ..., so that equal words count as different ones.
        steps: of Adam; in each, every word is hidden once.
        seed: of the weights.

    Raises:
        ValueError: there are fewer than two words, or steps is negative.
    """
    if words < 2 or steps < 0:
        raise ValueError(
            f"words must be at least 2 and steps not negative, got {words} and {steps}"
        )
    config = BertConfig(
        vocab=words + 1, context=words, segments=1, depth=3, heads=4, width=64, inner=128,
        dropout=0.0, padding=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertMaskedLm(config)
    text = tokens_by_heart(words)
    hidden = torch.eye(words, dtype=torch.bool)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = model.loss(text.masked_fill(hidden, 0), text.masked_fill(~hidden, -100))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def tokens_by_heart(words: int) -> Tokens:
    """The text of `by_heart`; token 0 is the mask."""
    return torch.arange(1, words + 1)[None]
