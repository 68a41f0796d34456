"""Beam search: of all texts so far, go on with the few likeliest.

Source: Lowerre 1976, "The Harpy Speech Recognition System" (the beam); Wu et al. 2016,
arXiv:1609.08144, section 7, equation 14 (a penalty on length).
Differs from the papers: a beam of fixed size; the penalty is length^length_penalty; a search ends
by the rules of `Decoding.early_stopping`. Scores, ends and padding are those of Hugging Face's
`generate`, token for token, with its rule that a padding token 0 gives way to the end token.

Symbols: b prompts, n beams of each, v tokens of the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from orrery.catalog import System
from orrery.inference.decoding import Decoding, Tokens, Written

SYSTEM = System(
    stem="beam_search", area="reasoning", title="Beam search", year=1976,
    papers=("Lowerre 1976", "arXiv:1609.08144"), builds_on=(), realises=("beam-search",),
)  # fmt: skip

Texts = Int[Tensor, "b n u"]  # what was added to the prompts, filled to the greatest length
Judged = Float[Tensor, "b n"]  # minus infinity where there is no text yet
NOTHING = -torch.inf


@dataclass(slots=True)
class Beams:
    """Texts of each prompt and their scores, the best first."""

    texts: Texts
    scores: Judged

    @property
    def full(self) -> Bool[Tensor, "b 1"]:
        """Whether every place is taken."""
        return self.scores.isfinite().all(dim=1, keepdim=True)

    def best(self, n: int, more: "Beams") -> "Beams":
        """The n best of these and more."""
        scores, places = torch.cat([self.scores, more.scores], dim=1).topk(n)
        return Beams(rows(torch.cat([self.texts, more.texts], dim=1), places), scores)


def rows(texts: Texts, chosen: Int[Tensor, "b m"]) -> Int[Tensor, "b m u"]:
    """These texts of each prompt, in this order."""
    return texts.gather(1, chosen[..., None].expand(-1, -1, texts.shape[-1]))


def search(
    step: Callable[..., Tensor],
    state: Any,
    prompt: Tokens,
    how: Decoding,
    *,
    text: Tokens | None = None,
) -> Written:
    """The best texts of each prompt, as `orrery.inference.generation.write` gives them back.

    Args:
        step: gives the scores of the next token.
        state: what the step keeps; its rows are repeated and reordered.
        prompt: one a row.
        how: the choices.
        text: the prompt with no padding in it, for what `how` rules by the text so far.
    """
    text = prompt if text is None else text
    b, n = len(prompt), how.num_beams
    first = n * torch.arange(b, device=prompt.device)[:, None]  # row of each prompt's first beam
    texts = prompt.new_full((b, n, how.max_new_tokens), filler(how))
    open_ = Beams(texts, torch.full((b, n), NOTHING, device=prompt.device))
    open_.scores[:, 0] = 0  # at first all beams are one
    finished = Beams(texts, torch.full_like(open_.scores, NOTHING))
    improvable = torch.ones_like(finished.full)
    fresh = prompt
    for added in range(how.max_new_tokens):
        chances = step(fresh, state).float().log_softmax(dim=-1)
        chances = how.rule(chances, so_far(text, open_, added), added)
        if added == 0:
            chances = chances.repeat_interleave(n, dim=0)
            state.take(torch.arange(b, device=prompt.device).repeat_interleave(n))
        found, parents = likeliest(open_, chances, added, how)
        ended = how.ended(found.texts[..., added]) | (added == how.max_new_tokens - 1)
        judged = found.scores / (added + 1) ** how.length_penalty
        shut = ~improvable | (finished.full & (how.early_stopping is True))
        judged = judged.masked_fill(~ended | shut, NOTHING)
        judged[:, n:] = NOTHING  # these only stand in for those that ended
        finished = finished.best(n, Beams(found.texts, judged))
        scores, following = found.scores.masked_fill(ended, NOTHING).topk(n)
        open_ = Beams(rows(found.texts, following), scores)
        improvable = improvable & could_improve(open_, finished, added + 1, how)
        enough = how.early_stopping is True and bool(finished.full.all())
        if enough or not improvable.any() or ended.all():
            break
        state.take((first + parents.gather(1, following)).flatten())
        fresh = open_.texts[..., added].flatten()[:, None]
    return joined(prompt, finished.texts[:, : how.num_return_sequences], how)


def so_far(prompt: Tokens, open_: Beams, added: int) -> Written:
    """The text that each row of the state has read: before the first token, the prompts alone."""
    if added == 0:
        return prompt
    n = open_.scores.shape[1]
    written = open_.texts[..., :added].flatten(0, 1)
    return torch.cat([prompt.repeat_interleave(n, dim=0), written], dim=1)


def likeliest(
    open_: Beams, chances: Float[Tensor, "bn v"], added: int, how: Decoding
) -> tuple[Beams, Int[Tensor, "b c"]]:
    """The likeliest texts with one token more, and which beam each goes on from.

    So many that, whichever of them end, `num_beams` are left to go on with.
    """
    b, n, vocab = *open_.scores.shape, chances.shape[-1]
    count = max(2, 1 + len(how.ends)) * n
    total = (open_.scores[..., None] + chances.reshape(b, n, vocab)).flatten(1)
    scores, places = total.topk(min(count, n * vocab))
    parents = places // vocab
    texts = rows(open_.texts, parents)
    texts[..., added] = places % vocab
    return Beams(texts, scores), parents


def could_improve(open_: Beams, finished: Beams, length: int, how: Decoding) -> Bool[Tensor, "b 1"]:
    """Whether the best open text, at the length it is judged at, beats the worst finished one."""
    if how.early_stopping == "never" and how.length_penalty > 0:
        length = how.max_new_tokens
    return open_.scores[:, :1] / length**how.length_penalty > finished.scores[:, -1:]


def filler(how: Decoding) -> int:
    """What stands behind a finished text."""
    return how.ends[0] if how.ends and not how.pad_token_id else how.pad_token_id or 0


def joined(prompt: Tokens, texts: Texts, how: Decoding) -> Written:
    """The prompts with their best texts, cut to the longest of these."""
    texts, count = texts.flatten(0, 1), texts.shape[1]
    ends = how.ended(texts).long()
    lengths = (ends.cumsum(dim=1) - ends == 0).sum(dim=1)
    return torch.cat(
        [prompt.repeat_interleave(count, dim=0), texts[:, : int(lengths.max())]], dim=1
    )
