"""Many texts at once: a step goes on with all of them, so that the weights are read once for all.

Texts come and go between any two steps (continuous batching). One that begins as an earlier one did
starts from a copy of what was read of that: a prompt that many share is read once.

Source: Yu et al. 2022, "Orca: A Distributed Serving System for Transformer-Based Generative
Models", OSDI, section 4.1, for joining and leaving at every step.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from orrery.inference.decoding import Constraint, Decoding, one_thread, within


@runtime_checkable
class BatchModel(Protocol):
    """A model that goes on with several texts at once, each as if it were alone."""

    def new_cache(self) -> Any:
        """Of a text that begins; its length is the tokens read, its `beginning(n)` a copy of n."""
        ...

    def __call__(self, tokens: Tensor, cache: Any) -> Tensor:
        """Read tokens [1 t] of one text; scores [1 v] of the next one."""
        ...

    def write(self, tokens: Tensor, caches: Sequence[Any]) -> Tensor:
        """Read one token [b] more of each text; scores [b v] of the next ones."""
        ...


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token of a text."""

    text: int
    """The number that `add` gave."""
    token: int
    chance: float
    """Its log-probability, before `how` ruled anything out."""
    last: bool


@dataclass(slots=True)
class _Text:
    number: int
    prompt: list[int]
    how: Decoding
    generator: torch.Generator
    constraint: Constraint | None
    cache: Any = None
    added: list[int] = field(default_factory=list)


class Batch:
    """Texts that are open, texts that wait, and what is kept of those that are done."""

    def __init__(self, model: BatchModel, *, most: int = 8, kept: int = 8) -> None:
        """Begin with none.

        Args:
            model: goes on with texts.
            most: texts open at once; others wait.
            kept: texts of which the cache is kept when they are done; the oldest is given up.

        Raises:
            ValueError: most is below 1 or kept below 0.
        """
        if most < 1 or kept < 0:
            raise ValueError(f"most must be at least 1 and kept 0, got {most} and {kept}")
        self.model, self.most, self.kept = model, most, kept
        self.waiting, self.open = deque[_Text](), dict[int, _Text]()
        self.done = dict[tuple[int, ...], Any]()  # the oldest first
        self.read = 0
        """Tokens of prompts that were read and not copied."""
        self._count = 0

    def add(
        self,
        prompt: Sequence[int],
        how: Decoding,
        *,
        seed: int = 0,
        constraint: Constraint | None = None,
    ) -> int:
        """Let a text wait for its turn; its number.

        Args:
            prompt: what it begins with.
            how: the choices; no search with beams.
            seed: of its draws, which no other text changes.
            constraint: of this text alone.

        Raises:
            ValueError: the prompt is empty, or a search with beams is asked for; or how forces
                tokens beside a constraint.
        """
        if not prompt or how.num_beams > 1:
            raise ValueError("a text needs a prompt and num_beams=1")
        if constraint is not None:
            how.check_free()
        self._count += 1
        generator = torch.Generator().manual_seed(seed)
        self.waiting.append(_Text(self._count, list(prompt), how, generator, constraint))
        return self._count

    def cancel(self, number: int) -> None:
        """Give up a text, wherever it is; one that is done or unknown is none."""
        self.open.pop(number, None)
        self.waiting = deque(text for text in self.waiting if text.number != number)

    def run(self) -> Iterator[NewToken]:
        """Steps until no text is left; others may be added meanwhile."""
        while self.open or self.waiting:
            yield from self.step()

    @torch.inference_mode()
    def step(self) -> list[NewToken]:
        """One token more of each open text, after as many as there is room for were let in."""
        going = list(self.open.values())
        chosen = []
        if going:
            last = torch.tensor([text.added[-1] for text in going])
            scores = self.model.write(last, [text.cache for text in going])
            chosen += [self._choose(text, row) for text, row in zip(going, scores, strict=True)]
        while self.waiting and len(self.open) < self.most:
            text = self.waiting.popleft()
            scores = self._begin(text)
            self.open[text.number] = text
            chosen.append(self._choose(text, scores[0]))
        return chosen

    def _begin(self, text: _Text) -> Tensor:
        """Read a prompt, but for what an earlier text has in common with it."""
        earlier = [*self.done.items()]
        earlier += [((*t.prompt, *t.added), t.cache) for t in self.open.values()]
        common, cache = 0, None
        for tokens, found in earlier:
            pairs = zip(tokens[: len(found)], text.prompt[:-1], strict=False)
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if alike > common:
                common, cache = alike, found
        text.cache = self.model.new_cache() if cache is None else cache.beginning(common)
        fresh = text.prompt[common:]
        self.read += len(fresh)
        return self.model(torch.tensor([fresh]), text.cache)

    def _choose(self, text: _Text, scores: Tensor) -> NewToken:
        """The next token of a text; the text is closed with its last one."""
        so_far = torch.tensor([text.prompt + text.added])
        with one_thread():
            allowed = within(scores[None], text.constraint)
            token = int(text.how.choose(allowed, so_far, len(text.added), text.generator))
            chance = float(scores.float().log_softmax(dim=-1)[token])
        text.added.append(token)
        if text.constraint is not None:
            text.constraint.advance(token)
        last = token in text.how.ends or len(text.added) == text.how.max_new_tokens
        if last:
            del self.open[text.number]
            self.done[tuple(text.prompt + text.added)] = text.cache
            while len(self.done) > self.kept:
                del self.done[next(iter(self.done))]
        return NewToken(text.number, token, chance, last)
