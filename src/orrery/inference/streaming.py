"""Text as it is written, token after token: never half a character, never part of a stop string."""

import codecs
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from orrery.inference.decoding import Constraint, Decoding, one_thread, within
from orrery.inference.generation import S, Step


class TextPieces:
    """Bytes in, text out as soon as it is certain."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        """Begin a text.

        Args:
            stops: the text ends before the first of these.

        Raises:
            ValueError: one is empty.
        """
        if "" in stops:
            raise ValueError("stops must not be empty")
        self.stops = tuple(stops)
        self.stopped = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, data: bytes, *, last: bool = False) -> str:
        """What can be shown once these bytes have come; nothing after a stop string."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(data, last)
        found = [(self._held.index(stop), stop) for stop in self.stops if stop in self._held]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)[0]], ""
            return shown
        keep = 0 if last else self._beginning_of_a_stop()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def _beginning_of_a_stop(self) -> int:
        """How many characters at the end may turn out to be the beginning of a stop string."""
        longest = max(map(len, self.stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self.stops):
                return size
        return 0


@dataclass(slots=True)
class Pace:
    """How long a text took; times are of the wall clock."""

    prompt_tokens: int = 0
    tokens: int = 0
    """Written; the one that ends the text counts."""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    finish: Literal["", "end", "length", "stop"] = ""
    """Why the text ended: it was complete, no more tokens were allowed, or a stop string came."""

    @property
    def prefill_rate(self) -> float:
        """Tokens a second while the prompt was read."""
        return self.prompt_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first one."""
        return (self.tokens - 1) / self.decode_seconds if self.decode_seconds else 0.0


def stream(
    step: Step[S],
    state: S,
    prompt: Sequence[int],
    how: Decoding,
    *,
    generator: torch.Generator | None = None,
    pace: Pace | None = None,
    constraint: Constraint | None = None,
) -> Iterator[int]:
    """One text's new tokens, each as soon as it is chosen; the one that ends it is the last.

    They are those that `write` gives. After an early stop the state holds what was read.

    Raises:
        ValueError: the prompt is empty, or a search with beams is asked for; or how forces tokens
            beside a constraint.
    """
    if not prompt or how.num_beams > 1:
        raise ValueError("a stream needs a prompt and num_beams=1")
    if constraint is not None:
        how.check_free()
    pace = Pace() if pace is None else pace
    pace.finish = ""
    pace.prompt_tokens, start = len(prompt), time.perf_counter()
    text = fresh = torch.tensor([list(prompt)])
    for added in range(how.max_new_tokens):
        with torch.inference_mode():
            scores = step(fresh, state)
            with one_thread():
                chosen = how.choose(within(scores, constraint), text, added, generator)
            fresh = chosen[:, None]
            text = torch.cat([text, fresh], dim=1)
        token, pace.tokens = int(chosen), added + 1
        now = time.perf_counter()
        if added == 0:
            pace.prefill_seconds, start = now - start, now
        else:
            pace.decode_seconds = now - start
        if constraint is not None:
            constraint.advance(token)
        last = token in how.ends
        if last or added == how.max_new_tokens - 1:
            pace.finish = finish(last, constraint)
        yield token
        if last:
            return


def finish(ended: bool, constraint: Constraint | None) -> Literal["end", "length"]:
    """Why a text has had its last token: one that is complete has ended, though none said so."""
    return "end" if ended or (constraint is not None and constraint.complete) else "length"
