"""Speculative decoding: a cheap draft guesses tokens, the model reads all guesses in one pass.

A guess stays with the chance that makes what is written exactly the model's own: where the draft
likes a token more than the model does, the token is refused as often as it is too likely, and what
the model likes more than the draft takes its place. So the text is the model's whatever the draft
is; a bad one only costs time. The draft is a smaller model, or what followed the last tokens where
they stood before (prompt look-up), a guess that is certain of itself.

Source: Leviathan et al. 2022, "Fast Inference from Transformers via Speculative Decoding",
arXiv:2211.17192, algorithm 1, equation 1 (tokens a pass), corollary 3.6 (acceptance rate), theorem
3.8 (time), section 2.2 (temperature and the like change both laws first); Chen et al. 2023,
"Accelerating Large Language Model Decoding with Speculative Sampling", arXiv:2302.01318, algorithm
2; Saxena 2023, "Prompt Lookup Decoding", for the second draft.
Differs from the papers: near the end of a text fewer tokens are guessed, so that none is too many.

Symbols: p the model's chances, q the draft's, k guesses a round, a the acceptance rate, c the time
of a draft's pass over that of the model's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from orrery.catalog import System
from orrery.inference.decoding import most_likely

SYSTEM = System(
    stem="speculative_decoding", area="efficiency", title="Speculative decoding", year=2022,
    papers=("arXiv:2211.17192", "arXiv:2302.01318", "Saxena 2023"), builds_on=(),
    realises=("speculative-decoding",),
)  # fmt: skip

Guesses = Int[Tensor, "b k"]
Tokens = Int[Tensor, "b n"]
Kept = Int[Tensor, " b"]
Offered = Float[Tensor, "b k v"]  # chances under the draft, rows sum to 1
Wanted = Float[Tensor, "b n v"]  # under the model; n = k + 1, the last after all guesses
Scores = Float[Tensor, "t v"]
Model = Callable[[Tensor, Any], Tensor]
"""Fresh tokens [1 t] and a cache, which remembers them from then on: scores [t v] of the token
after each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeculativeConfig:
    """How many tokens are guessed, and the law that tokens are drawn by."""

    ahead: int = 4
    """k, guesses a round."""
    temperature: float | int = 1.0
    """Divides the scores before drawing; 0 takes the likeliest token."""
    top_k: int | None = None
    """Only the likeliest tokens are drawn."""
    top_p: float | int = 1.0
    """Only the likeliest tokens are drawn, as few as together have this chance."""

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {self.ahead}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")

    def chances(self, scores: Scores) -> Scores:
        """Of each token, under these choices."""
        scores = scores.float() if scores.element_size() < 4 else scores
        if self.temperature == 0:
            return torch.zeros_like(scores).scatter(-1, scores.argmax(dim=-1, keepdim=True), 1.0)
        return most_likely(scores / self.temperature, self.top_k, self.top_p).softmax(dim=-1)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a round of guesses."""

    tokens: Tokens
    """The guesses, from the first refused one on overwritten: by the model's token, then zeros."""
    kept: Kept
    """How many guesses stayed; one more token is good."""


def accept(guesses: Guesses, q: Offered, p: Wanted, generator: Generator) -> Accepted:
    """Keep guesses up to the first refusal, and draw one token more: algorithm 1.

    Args:
        guesses: drawn from q, each after those before it.
        q: what they were drawn from.
        p: the model's chances there, and after the last.
        generator: the source of chance.
    """
    rows, ahead = torch.arange(len(guesses), device=p.device), guesses.shape[1]
    q_guess, p_guess = (law[:, :ahead].gather(-1, guesses[..., None])[..., 0] for law in (q, p))
    r = torch.rand(guesses.shape, generator=generator, dtype=p.dtype, device=p.device)
    stays = r * q_guess < p_guess  # with the chance min(1, p / q)
    kept = stays.long().cumprod(dim=1).sum(dim=1)
    q_there = torch.cat([q, torch.zeros_like(p[:, :1])], dim=1)[rows, kept]  # none after the last
    rest = residual(p[rows, kept], q_there)
    last = torch.multinomial(rest, 1, generator=generator)
    places = torch.arange(ahead + 1, device=p.device)
    tokens = torch.cat([guesses, torch.zeros_like(last)], dim=1) * (places < kept[:, None])
    return Accepted(tokens.scatter(1, kept[:, None], last), kept)


def residual(p: Float[Tensor, "b v"], q: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """What the model likes more than the draft, norm(max(p - q, 0)); p where nothing is left."""
    more = (p - q).clamp(min=0)
    total = more.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, more / total.clamp(min=torch.finfo(p.dtype).tiny), p)


def acceptance_rate(p: Float[Tensor, "*n v"], q: Float[Tensor, "*n v"]) -> Float[Tensor, "*n"]:
    """The chance that a guess stays: the sum of min(p, q), one less their total variation."""
    return torch.minimum(p, q).sum(dim=-1)


def tokens_per_pass(a: float, ahead: int) -> float:
    """Expected tokens of a round, if each guess stays with the chance a whatever the others do."""
    return sum(a**i for i in range(ahead + 1))  # (1 - a^(k+1)) / (1 - a), and k + 1 at a = 1


def speed_up(a: float, ahead: int, cost: float) -> float:
    """How many times faster it is expected to be, if reading k + 1 tokens takes as long as one.

    Args:
        a: acceptance rate.
        ahead: k.
        cost: c.
    """
    return tokens_per_pass(a, ahead) / (1 + ahead * cost)


class TextReader:
    """A causal model, and what it remembers of one text."""

    def __init__(self, model: Model, cache: Any) -> None:
        """Begin.

        Args:
            model: reads on.
            cache: an empty one; it has a length, and `cut(length)` makes it forget the rest.
        """
        self.model, self.cache = model, cache

    def read(self, text: Sequence[int], count: int) -> Scores:
        """Scores after each of the last `count` tokens; only what is new is read."""
        fresh = torch.tensor([text[len(self.cache) :]])
        scores = self.model(fresh, self.cache)
        return scores[len(scores) - count :]

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if length < len(self.cache):
            self.cache.cut(length)


@runtime_checkable
class Drafter(Protocol):
    """Guesses what comes next."""

    def propose(
        self, text: Sequence[int], count: int, how: SpeculativeConfig, generator: Generator
    ) -> tuple[list[int], Tensor | None]:
        """Up to `count` tokens, and the chances [k v] they were drawn from; None: certain."""
        ...

    def cut(self, length: int) -> None:
        """The text has changed from here on."""
        ...


class ModelDraft:
    """A smaller model, which draws as the large one would."""

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader

    def propose(
        self, text: Sequence[int], count: int, how: SpeculativeConfig, generator: Generator
    ) -> tuple[list[int], Tensor | None]:
        """`count` tokens, one after another."""
        if count == 0:
            return [], None
        text, laws = list(text), list[Tensor]()
        for _ in range(count):
            laws.append(how.chances(self.reader.read(text, 1)))
            text.append(int(torch.multinomial(laws[-1], 1, generator=generator)))
        return text[len(text) - count :], torch.cat(laws)

    def cut(self, length: int) -> None:
        """Forget what was refused."""
        self.reader.cut(length)


class LookUp:
    """What followed the last tokens where they last stood before; the longest match counts."""

    def __init__(self, longest: int = 3) -> None:
        """Look for up to `longest` tokens.

        Raises:
            ValueError: longest is below 1.
        """
        if longest < 1:
            raise ValueError(f"longest must be at least 1, got {longest}")
        self.longest = longest

    def propose(
        self, text: Sequence[int], count: int, how: SpeculativeConfig, generator: Generator
    ) -> tuple[list[int], Tensor | None]:
        """Up to `count` tokens, none where nothing matches."""
        text = list(text)
        for length in range(min(self.longest, len(text) - 1), 0, -1):
            end = text[-length:]
            for start in range(len(text) - length - 1, -1, -1):
                if text[start : start + length] == end:
                    return text[start + length : start + length + count], None
        return [], None

    def cut(self, length: int) -> None:
        """It remembers nothing."""


@dataclass(slots=True)
class SpeculativeText:
    """What was written, and what it took."""

    tokens: list[int]
    """The prompt and what came after it."""
    passes: int = 0
    """Of the model."""
    guessed: int = 0
    judged: int = 0
    """Guesses up to the first refused one of each round."""
    kept: int = 0


Judge = Callable[[Guesses, Offered, Wanted, Generator], Accepted]


class Speculation:
    """A model and its draft at work on one text."""

    def __init__(
        self,
        target: TextReader,
        draft: Drafter,
        how: SpeculativeConfig | None = None,
        judge: Judge = accept,
    ) -> None:
        """Begin.

        Args:
            target: whose text it is; it has read nothing yet, or a beginning of the prompt.
            draft: guesses for it.
            how: the choices; the defaults if not given.
            judge: says which guesses stay.
        """
        self.target, self.draft, self.judge = target, draft, judge
        self.how = SpeculativeConfig() if how is None else how

    @torch.no_grad()
    def write(
        self, prompt: Sequence[int], count: int, generator: Generator, *, end: int | None = None
    ) -> SpeculativeText:
        """The prompt and what the model writes after it.

        Args:
            prompt: at least one token.
            count: most tokens to add.
            generator: the source of chance.
            end: a token that ends the text.

        Raises:
            ValueError: the prompt is empty, or count is below 0.
        """
        if not prompt or count < 0:
            raise ValueError(f"prompt must have a token and count be at least 0, got {count}")
        found = SpeculativeText(list(prompt))
        while len(found.tokens) < len(prompt) + count:
            new = self.round(found, len(prompt) + count - len(found.tokens), generator)
            if end in new:
                found.tokens += new[: new.index(end) + 1]
                break
            found.tokens += new
        return found

    def round(self, found: SpeculativeText, room: int, generator: Generator) -> list[int]:
        """At least one and at most `room` tokens more, by one pass of the model; counts it."""
        text = found.tokens
        ahead = min(self.how.ahead, room - 1)
        guesses, q = self.draft.propose(text, ahead, self.how, generator)
        p = self.how.chances(self.target.read([*text, *guesses], len(guesses) + 1))
        row = torch.tensor([guesses], dtype=torch.long)
        if q is None:  # certain of each guess
            q = torch.zeros_like(p[: len(guesses)]).scatter(1, row.T, 1.0)
        out = self.judge(row, q[None], p[None], generator)
        kept = int(out.kept)
        for one in (self.target, self.draft):
            one.cut(len(text) + kept)
        found.passes += 1
        found.guessed += len(guesses)
        found.judged += min(kept + 1, len(guesses))
        found.kept += kept
        return list(map(int, out.tokens[0, : kept + 1]))
