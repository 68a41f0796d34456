"""How a text is written on: the choices of a generation, and the scores they leave open."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Int[Tensor, "b t"]
Written = Int[Tensor, "_ _"]  # prompts and what was added to them
Scores = Float[Tensor, "b v"]


@runtime_checkable
class Constraint(Protocol):
    """What one text must be: it knows what was written, and says what may come next."""

    def mask(self) -> Bool[Tensor, " v"]:
        """The tokens that may come next; at least one, or one that ends the text."""
        ...

    def advance(self, token: int) -> None:
        """Go on with one of these."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """The choices, under the names that the field gives them."""

    max_new_tokens: int = 20
    """Most tokens to add."""
    min_new_tokens: int = 0
    """Before so many are added, a text does not end."""
    num_beams: int = 1
    """Texts kept at each step; 1 takes the likeliest token, or draws one."""
    num_return_sequences: int = 1
    """Of the beams, so many come back for each prompt, the best first."""
    length_penalty: float | int = 1.0
    """A finished text is judged by its log-probability over length^length_penalty."""
    early_stopping: bool | str = False
    """When a search ends: True at `num_beams` finished texts; False when what is open could not,
    at its present length, beat them; "never" when it could not at any length."""
    eos_token_id: int | Sequence[int] | None = None
    """Ends a text; any of several."""
    pad_token_id: int | None = None
    """Follows a text that has ended; the (first) token that ends one, if not given."""
    forced_bos_token_id: int | None = None
    """The token after a prompt of a single one."""
    forced_eos_token_id: int | None = None
    """The last of `max_new_tokens`."""
    do_sample: bool = False
    """Tokens are drawn by their chances."""
    temperature: float | int = 1.0
    """Divides the scores before drawing."""
    top_k: int | None = None
    """Only the k likeliest tokens are drawn."""
    top_p: float | int = 1.0
    """Only the likeliest tokens are drawn, as few as together have this chance."""
    min_p: float | int | None = None
    """Only tokens are drawn that have this share of the likeliest one's chance."""
    repetition_penalty: float | int = 1.0
    """The scores of tokens that stand in the text, the prompt included, are divided by this, or
    multiplied where they are negative."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_beams", "num_return_sequences"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            limits = f"[0, max_new_tokens={self.max_new_tokens}]"
            raise ValueError(f"min_new_tokens must be in {limits}, got {self.min_new_tokens}")
        if self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences must be at most num_beams={self.num_beams}, "
                f"got {self.num_return_sequences}"
            )
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(
                f"early_stopping must be True, False or 'never', got {self.early_stopping!r}"
            )
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"num_beams must be 1 with do_sample, got {self.num_beams}")
        self._check_draws()

    def _check_draws(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be in [0, 1], got {self.min_p}")
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty must be above 0, got {self.repetition_penalty}")

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        if self.eos_token_id is None:
            return ()
        if isinstance(self.eos_token_id, int):
            return (self.eos_token_id,)
        return tuple(self.eos_token_id)

    @property
    def filler(self) -> int:
        """What follows a text that has ended."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        return self.ends[0] if self.ends else 0

    def ended(self, last: Int[Tensor, "*rows"]) -> Tensor:
        """Whether each of these tokens ends a text."""
        return torch.isin(last, torch.tensor(self.ends, dtype=last.dtype, device=last.device))

    def rule(self, scores: Scores, texts: Tokens, added: int) -> Scores:
        """Scores of the next token: repetitions made less likely, and what is not allowed at -inf.

        Args:
            scores: raw scores or log-probabilities.
            texts: so far, with their prompts.
            added: tokens added so far.
        """
        if self.repetition_penalty != 1:
            scores = less_of(scores, texts, self.repetition_penalty)
        if added < self.min_new_tokens and self.ends:
            scores = scores.clone()
            scores[:, list(self.ends)] = -torch.inf
        forced = None
        if texts.shape[1] == 1:
            forced = self.forced_bos_token_id
        if added == self.max_new_tokens - 1 and self.forced_eos_token_id is not None:
            forced = self.forced_eos_token_id
        if forced is not None:
            scores = torch.full_like(scores, -torch.inf)
            scores[:, forced] = 0
        return scores

    def check_free(self) -> None:
        """See that a constraint alone says which tokens may come.

        Raises:
            ValueError: tokens are forced, or a text may not end where it is complete.
        """
        forced = (self.forced_bos_token_id, self.forced_eos_token_id)
        if self.num_beams > 1 or self.min_new_tokens or forced != (None, None):
            raise ValueError("a constraint needs num_beams=1, min_new_tokens=0 and no forced token")

    def choose(
        self, scores: Scores, texts: Tokens, added: int, generator: torch.Generator | None
    ) -> Int[Tensor, " b"]:
        """The next token of each text: the likeliest that is allowed, or drawn by `do_sample`."""
        with one_thread():
            scores = self.rule(scores.float(), texts, added)
            return self.draw(scores, generator) if self.do_sample else scores.argmax(dim=-1)

    def draw(self, scores: Scores, generator: torch.Generator | None) -> Int[Tensor, " b"]:
        """One token a row by its chance under temperature, top_k, top_p and min_p."""
        scores = most_likely(scores / self.temperature, self.top_k, self.top_p)
        if self.min_p is not None:
            chances = scores.softmax(dim=-1)
            least = self.min_p * chances.amax(dim=-1, keepdim=True)
            scores = scores.masked_fill(chances < least, -torch.inf)
        return torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).squeeze(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Operations of torch on this thread alone.

    Choosing a token gains nothing from more, and torch's other threads, once they have worked, wait
    by spinning for a while: in the way of those that compute the next step.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def within(scores: Scores, constraint: Constraint | None) -> Scores:
    """Scores of one text with what its constraint does not allow at minus infinity."""
    if constraint is None:
        return scores
    return scores.masked_fill(~constraint.mask(), -torch.inf)


def most_likely(scores: Scores, top_k: int | None = None, top_p: float | int = 1.0) -> Scores:
    """Scores with all but the likeliest tokens at minus infinity.

    Nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751, section 3.1) keeps the fewest tokens
    that have top_p of the chance, of those that top_k left.
    """
    if top_k is not None:
        least = scores.topk(min(top_k, scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p < 1:
        ordered, order = scores.sort(descending=True, stable=True)
        chances = ordered.softmax(dim=-1)
        beyond = chances.cumsum(dim=-1) - chances >= top_p  # those before it are enough
        beyond[:, 0] = False
        scores = scores.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
    return scores


def less_of(scores: Scores, texts: Tokens, penalty: float) -> Scores:
    """Scores with tokens that stand in their texts made less likely.

    Source: Keskar et al. 2019 (CTRL), arXiv:1909.05858, section 4.1; negative scores are multiplied
    where the paper divides all, so that they get smaller too, as is usual now.
    """
    old = scores.gather(1, texts)
    return scores.scatter(1, texts, torch.where(old < 0, old * penalty, old / penalty))
