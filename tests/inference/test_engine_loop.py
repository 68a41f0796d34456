"""`orrery.inference.serving.engine_loop`: the thread that steps a batch for everyone."""

import itertools
import threading

import pytest
import torch

from orrery.inference.decoding import Decoding
from orrery.inference.serving.engine_loop import (
    Asked,
    ClosingError,
    EngineError,
    EngineLoop,
    QueueFullError,
)
from orrery.inference.serving.safe_constraint import SafeConstraint
from tests.inference.serving import until

VOCAB = 7


class Counting:
    """Each token is the one before plus one; a text's cache is the list of its tokens."""

    def __init__(self):
        self.begun = []

    def new_cache(self):
        return Row()

    def __call__(self, tokens, cache):
        cache += tokens[0].tolist()
        self.begun.append(cache[0])
        return self.scores(tokens[:, -1])

    def write(self, tokens, caches):
        for token, cache in zip(tokens.tolist(), caches, strict=True):
            cache.append(token)
        return self.scores(tokens)

    def scores(self, last):
        return 9.0 * torch.eye(VOCAB)[(last + 1) % VOCAB]


class Row(list):
    def beginning(self, count):
        return Row(self[:count])


class Heard(list):
    """What was told of a request."""

    def __init__(self, engine, *asked):
        super().__init__()
        self.job = engine.submit(asked, self.append)

    def tokens(self, place=0):
        return [one.token for one in self if one.place == place]


def asked(first, count=3, **more):
    return Asked(prompt=[first], how=Decoding(max_new_tokens=count), **more)


@pytest.fixture
def engine():
    one = EngineLoop(Counting(), texts=2, queue=6)
    yield one
    one.close()
    if one._thread.ident is None:
        one.start()
    one.join()


def idle(engine):
    until(lambda: engine.load == (0, 0))


def test_tokens_come_to_who_asked_for_them(engine):
    engine.start()
    heard = [Heard(engine, asked(i), asked(i + 1, 5, likeliest=2)) for i in range(4)]
    idle(engine)
    for i, one in enumerate(heard):
        assert one.tokens(0) == [(i + 1 + j) % VOCAB for j in range(3)]
        assert one.tokens(1) == [(i + 2 + j) % VOCAB for j in range(5)]
        assert [e.last for e in one if e.place == 1] == [False] * 4 + [True]
        assert all(e.likeliest[0] == (e.token, pytest.approx(e.chance)) for e in one if e.place)
        assert all(len(e.likeliest) == (2 if e.place else 0) for e in one)


def test_a_request_of_many_texts_does_not_hold_up_others(engine):
    Heard(engine, *(asked(0, 4) for _ in range(5)))
    Heard(engine, asked(5, 4))
    Heard(engine, asked(6, 4))
    engine.start()
    idle(engine)
    assert engine._model.model.begun == [0, 5, 0, 6, 0, 0, 0]


def test_the_queue_is_bounded(engine):
    first = Heard(engine, *(asked(0) for _ in range(7)))
    with pytest.raises(QueueFullError):
        engine.submit([asked(1), asked(1)], print)
    engine.cancel(first.job, 3)
    Heard(engine, asked(1))
    assert engine.load == (0, 8)
    engine.start()
    idle(engine)
    assert 3 not in {one.place for one in first}
    Heard(engine, *(asked(0) for _ in range(8)))
    idle(engine)


def test_what_is_given_up_is_written_no_further(engine):
    seen = threading.Event()
    heard = []

    def deliver(event):
        heard.append(event)
        if len(heard) == 4:
            engine.cancel(job)
            seen.set()

    job = engine.submit([asked(0, 10**6)], deliver)
    other = Heard(engine, asked(3, 50))
    engine.start()
    assert seen.wait(5)
    idle(engine)
    assert len(heard) == 4
    assert len(other.tokens()) == 50


def test_the_end_comes_when_all_is_written_or_time_is_up():
    for grace, count, ends in ((5.0, 30, True), (0.05, 10**6, False)):
        engine = EngineLoop(Counting(), texts=1)
        heard, waits = Heard(engine, asked(0, count)), Heard(engine, asked(1, 2))
        engine.close(grace)
        with pytest.raises(ClosingError):
            engine.submit([asked(0)], print)
        engine.start()
        engine.join()
        assert isinstance(heard[-1], ClosingError) != ends
        assert waits[-1].last if ends else isinstance(waits[-1], ClosingError)


class Failing:
    """Allows anything and fails at the third token."""

    complete = False

    def __init__(self, where):
        self.where, self.count = where, itertools.count(1)

    def mask(self):
        if self.where == "mask" and next(self.count) == 3:
            raise RuntimeError
        return torch.ones(VOCAB, dtype=torch.bool)

    def advance(self, token):
        if self.where == "advance" and next(self.count) == 3:
            raise RuntimeError


@pytest.mark.parametrize("where", ["mask", "advance"])
def test_a_constraint_that_fails_ends_its_own_text_alone(engine, where):
    kept = SafeConstraint(Failing(where), threading.Lock(), VOCAB, 0)
    bad = Heard(engine, asked(0, 9, constraint=kept))
    good = Heard(engine, asked(1, 9))
    engine.start()
    until(lambda: len(good) == 9)
    assert [one.token for one in bad[:2]] == [1, 2]
    assert isinstance(bad[2], EngineError)
    assert good.tokens() == [(2 + i) % VOCAB for i in range(9)]
    idle(engine)


def test_bad_texts_are_told_and_bad_sizes_refused(engine):
    bad = Heard(engine, Asked(prompt=[], how=Decoding()), asked(2))
    good = Heard(engine, asked(1))
    engine.start()
    idle(engine)
    assert isinstance(bad[0], ValueError)
    assert good.tokens() == [2, 3, 4]
    for sizes in ({"texts": 0}, {"queue": -1}):
        with pytest.raises(ValueError, match="texts must be at least 1 and queue 0"):
            EngineLoop(Counting(), **sizes)
