"""One thread that owns a batch and steps it; requests come in and tokens go out at any time.

A request may ask for several texts. Of those that wait, the next to be let in belongs to the
request that has the fewest open, the oldest request first: one that asks for much does not hold up
one that asks for little. A step lets in one text at most, so that those that are open wait for
one prompt to be read and not for many.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from orrery.inference.batching import Batch, BatchModel, NewToken
from orrery.inference.decoding import Decoding
from orrery.inference.serving.overheard import Overheard, likeliest
from orrery.inference.serving.safe_constraint import SafeConstraint


class QueueFullError(Exception):
    """As many texts are open and wait as may be."""


class ClosingError(Exception):
    """The server is being shut down."""


class EngineError(Exception):
    """A step failed for a reason that is ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A text that is to be written."""

    prompt: Sequence[int]
    how: Decoding
    seed: int = 0
    constraint: SafeConstraint | None = None
    """Of this text alone."""
    likeliest: int = 0
    """Of each token's rivals, so many are told with their chances."""


@dataclass(frozen=True, slots=True)
class Event:
    """A token of a text."""

    place: int
    """Of the text in its request."""
    token: int
    chance: float
    """Its log-probability; of the rivals too."""
    last: bool
    complete: bool = False
    """The text ends with this token by itself, not because it may have no more."""
    likeliest: tuple[tuple[int, float], ...] = ()


Deliver = Callable[[Event | Exception], None]
"""Called on the engine's thread; an exception ends the request."""


@dataclass(eq=False, slots=True)
class Job:
    """The texts of a request."""

    asked: Sequence[Asked]
    deliver: Deliver
    waiting: deque[int] = field(default_factory=deque)
    open: dict[int, int] = field(default_factory=dict)
    """Place of each text, by the batch's number."""
    given_up: set[int] = field(default_factory=set)

    @property
    def left(self) -> int:
        """Texts that are not done."""
        return len(self.waiting) + len(self.open)


class EngineLoop:
    """The thread. `submit`, `cancel` and `close` may be called from any other."""

    def __init__(self, model: BatchModel, *, texts: int = 8, queue: int = 64) -> None:
        """Begin with nothing to do; `start` starts the thread.

        Args:
            model: goes on with texts.
            texts: most that are open at once.
            queue: most that wait besides.

        Raises:
            ValueError: texts is below 1 or queue below 0.
        """
        if texts < 1 or queue < 0:
            raise ValueError(f"texts must be at least 1 and queue 0, got {texts} and {queue}")
        self.texts, self.capacity = texts, texts + queue
        self._model = Overheard(model)
        self._batch = Batch(self._model, most=texts)
        self._wake = threading.Condition()
        self._jobs: list[Job] = []
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def closing(self) -> bool:
        """Whether no more requests are taken."""
        return self._closing_at is not None

    @property
    def load(self) -> tuple[int, int]:
        """How many texts are open, and how many wait."""
        with self._wake:
            opened = sum(len(job.open) for job in self._jobs)
            return opened, sum(job.left for job in self._jobs) - opened

    def submit(self, asked: Sequence[Asked], deliver: Deliver) -> Job:
        """Let a request wait for its turn; its tokens go to `deliver`.

        Raises:
            QueueFullError: there is no room for all of its texts.
            ClosingError: no more are taken.
        """
        job = Job(asked, deliver, deque(range(len(asked))))
        with self._wake:
            if self.closing:
                raise ClosingError
            if sum(other.left for other in self._jobs) + job.left > self.capacity:
                raise QueueFullError
            self._jobs.append(job)
            self._wake.notify()
        return job

    def cancel(self, job: Job, place: int | None = None) -> None:
        """Give up a text of a request, or all; what is done or unknown is none."""
        with self._wake:
            job.given_up.update(range(len(job.asked)) if place is None else [place])

    def close(self, grace: float = 0.0) -> None:
        """Take no more requests; what is not done after so many seconds is given up."""
        with self._wake:
            self._closing_at = time.monotonic() + grace
            self._wake.notify()

    def join(self) -> None:
        """Wait for the thread to end, after `close`."""
        self._thread.join()

    def _run(self) -> None:
        while self._ready():
            try:
                self._tell(self._batch.step())
            except Exception as error:
                logging.getLogger(__name__).exception("a step failed")
                self._end(EngineError(f"a step failed: {type(error).__name__}"))
                self._batch = Batch(self._model, most=self.texts)
                self._model.take()
        self._end(ClosingError())

    def _ready(self) -> bool:
        """Wait until there is something to step; False when it is time to end."""
        with self._wake:
            while True:
                self._drop()
                if self.closing and (not self._jobs or time.monotonic() >= (self._closing_at or 0)):
                    return False
                self._let_in()
                if self._jobs:
                    return True
                self._wake.wait()

    def _drop(self) -> None:
        """Forget what was given up, and requests that are done."""
        for job in self._jobs:
            if job.given_up:
                for number in [n for n, place in job.open.items() if place in job.given_up]:
                    self._batch.cancel(number)
                    del job.open[number]
                job.waiting = deque(place for place in job.waiting if place not in job.given_up)
        self._jobs = [job for job in self._jobs if job.left]

    def _let_in(self) -> None:
        """Give one text that waits to the batch, if there is room."""
        waiting = [job for job in self._jobs if job.waiting]
        if not waiting or sum(len(job.open) for job in self._jobs) >= self.texts:
            return
        job = min(waiting, key=lambda job: len(job.open))  # the first of several: the oldest
        place = job.waiting.popleft()
        one = job.asked[place]
        try:
            number = self._batch.add(one.prompt, one.how, seed=one.seed, constraint=one.constraint)
        except ValueError as error:
            job.given_up.update(range(len(job.asked)))
            _deliver(job, error)
        else:
            job.open[number] = place

    def _tell(self, chosen: Sequence[NewToken]) -> None:
        """Hand each token to the request that it belongs to."""
        owners = {number: job for job in self._jobs for number in job.open}
        for one, scores in zip(chosen, self._model.take(), strict=True):
            job = owners[one.text]
            place = job.open[one.text]
            if one.last:
                with self._wake:
                    del job.open[one.text]
            _deliver(job, event_of(job.asked[place], place, one, scores))

    def _end(self, error: Exception) -> None:
        """End every request with an error."""
        with self._wake:
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            _deliver(job, error)


def event_of(asked: Asked, place: int, one: NewToken, scores: Tensor) -> Event | Exception:
    """What is told of a token: that its text's constraint failed, or all about it."""
    kept = asked.constraint
    if kept is not None and kept.error is not None:
        return EngineError(f"a constraint failed: {type(kept.error).__name__}")
    complete = one.last and (one.token in asked.how.ends or (kept is not None and kept.complete))
    rivals = likeliest(scores, asked.likeliest)
    return Event(place, one.token, one.chance, one.last, complete, rivals)


def _deliver(job: Job, event: Event | Exception) -> None:
    with contextlib.suppress(RuntimeError):  # whoever asked is gone, and its event loop with it
        job.deliver(event)
