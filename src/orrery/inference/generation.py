"""Text from a language model, token after token: greedily, by chance, or by a search with beams.

A model is known here by a step: fresh tokens and a state in, scores of the next token out. The
state is what the model keeps between steps and can be asked for certain of its rows. `generate`
is all a decoder needs; an encoder-decoder hands `write` a step over its `SourceState`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orrery.inference.beam_search import search
from orrery.inference.decoding import Decoding, Scores, Tokens, Written
from orrery.nn.key_value_cache import KeyValueCache

Seen = Int[Tensor, "b t"]  # 1 at the tokens that count, 0 at padding


@runtime_checkable
class State(Protocol):
    """What a model keeps between steps."""

    def take(self, rows: Tensor) -> None:
        """Go on with these rows of the batch, in this order; a row may be taken often."""
        ...


S = TypeVar("S", bound=State)
Step = Callable[[Tokens, S], Scores]
"""Fresh tokens, which the state has not seen, and the state, which remembers them from then on:
scores of the token after the last."""


@dataclass(slots=True)
class DecoderState:
    """Of a decoder: its cache, and which tokens count."""

    cache: KeyValueCache = field(default_factory=KeyValueCache)
    seen: Seen | None = None

    def take(self, rows: Tensor) -> None:
        """Go on with these rows."""
        self.cache.take(rows)
        if self.seen is not None:
            self.seen = self.seen[rows]


@dataclass(slots=True)
class SourceState:
    """Of an encoder-decoder: the encoder's output too, and the cache of what attends to it."""

    source: Float[Tensor, "b s d"]
    seen: Seen | None = None
    """Which tokens of the source count."""
    own: KeyValueCache = field(default_factory=KeyValueCache)
    across: KeyValueCache = field(default_factory=KeyValueCache)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows."""
        self.source = self.source[rows]
        self.seen = None if self.seen is None else self.seen[rows]
        self.own.take(rows)
        self.across.take(rows)


def generate(
    model: Callable[..., Any],
    input_ids: Tokens,
    attention_mask: Seen | None = None,
    *,
    generator: torch.Generator | None = None,
    cache: KeyValueCache | None = None,
    **options: Any,
) -> Written:
    """The prompts and what the model writes after them.

    Args:
        model: called as the decoders of the house are, with tokens, mask, position_ids and cache.
        input_ids: prompts; shorter ones are padded in front.
        attention_mask: 1 at the tokens that count, 0 at padding.
        generator: the source of chance of `do_sample`.
        cache: an empty one of the kind that the model needs.
        options: of `Decoding`.

    Raises:
        ValueError: an option is out of range.
    """

    def step(fresh: Tokens, state: DecoderState) -> Scores:
        places = None
        if state.seen is not None:
            new = fresh.new_ones(len(fresh), 1)
            if len(state.cache):
                state.seen = torch.cat([state.seen, new], dim=1)
            places = (state.seen.cumsum(dim=1) - 1).clamp(min=0)[:, -fresh.shape[1] :]
        output = model(fresh, state.seen, position_ids=places, cache=state.cache)
        return output.logits[:, -1]

    kept = KeyValueCache() if cache is None else cache
    state = DecoderState(cache=kept, seen=attention_mask)
    how = Decoding(**options)
    return write(step, state, input_ids, how, generator=generator, seen=attention_mask)


@torch.no_grad()
def write(
    step: Step[S],
    state: S,
    prompt: Tokens,
    how: Decoding,
    *,
    generator: torch.Generator | None = None,
    seen: Seen | None = None,
) -> Written:
    """The prompt and what comes after it, padded behind to one length.

    The prompt is read once a row; a search with beams repeats the state's rows after that.

    Args:
        step: scores the next token.
        state: what it keeps.
        prompt: one a row, shorter ones padded in front.
        how: the choices.
        generator: the source of chance of `do_sample`.
        seen: 1 at the tokens of the prompt that count as text, 0 at padding.
    """
    text = prompt if seen is None else prompt.where(seen != 0, prompt[:, -1:])
    if how.num_beams > 1:
        return search(step, state, prompt, how, text=text)
    fresh = prompt
    done = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for added in range(how.max_new_tokens):
        chosen = how.choose(step(fresh, state), text, added, generator)
        chosen = torch.where(done, how.filler, chosen)
        fresh = chosen[:, None]
        text = torch.cat([text, fresh], dim=1)
        done = done | how.ended(chosen)
        if done.all():
            break
    return torch.cat([prompt, text[:, prompt.shape[1] :]], dim=1)
