"""Checkpoints: whole or refused, whatever happens to the disk."""

import contextlib
import errno
import os
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from orrery import files
from orrery.errors import OrreryError
from orrery.train.checkpoint import (
    Checkpoint,
    capture,
    newest_checkpoint,
    random_state,
    restore,
    restore_random,
    save_checkpoint,
)  # fmt: skip

FLIPS = 1_000


class Tied(nn.Module):
    """Two names for one weight, and a buffer that is a view."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3, bias=False)
        self.two = nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight
        self.register_buffer("part", torch.arange(10.0)[2:5])


def trained(seed=0):
    torch.manual_seed(seed)
    model = Tied()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model.two(model.one(torch.randn(4, 3))).square().sum().backward()
        optimiser.step()
    return model, optimiser


def save(folder, step, seed=0, complete=False):
    state = capture(trained(seed))
    save_checkpoint(folder, Checkpoint(
        step=step, complete=complete, events=step * 10, state=state, random=random_state(),
    ))  # fmt: skip
    return state


def test_round_trip_is_exact(tmp_path):
    state = save(tmp_path, 3, seed=1)
    found, refused = newest_checkpoint(tmp_path)
    assert (found.step, found.complete, found.events, refused) == (3, False, 30, [])
    torch.testing.assert_close(found.state, state, rtol=0, atol=0)
    model, optimiser = trained(seed=2)
    restore((model, optimiser), found.state)
    torch.testing.assert_close(capture((model, optimiser)), state, rtol=0, atol=0)
    assert model.one.weight is model.two.weight


def test_random_generators_come_back(tmp_path):
    save(tmp_path, 1)
    expected = (torch.rand(3), np.random.rand(3), random.random())
    restore_random(newest_checkpoint(tmp_path)[0].random)
    again = (torch.rand(3), np.random.rand(3), random.random())
    torch.testing.assert_close(again, expected, rtol=0, atol=0)
    generator = torch.Generator().manual_seed(3)
    saved = capture([generator])
    expected = torch.rand(2, generator=generator)
    restore([generator], saved)
    torch.testing.assert_close(torch.rand(2, generator=generator), expected)


def test_only_the_newest_two_are_kept(tmp_path):
    for step in range(1, 5):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.glob("*.json")) == [
        "step-000000003.json", "step-000000004.json",
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 4


def test_a_thousand_byte_flips_are_refused_and_the_older_one_is_used(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    rng = random.Random(0)
    files = [tmp_path / "step-000000002.json", tmp_path / "step-000000002.safetensors"]
    for _ in range(FLIPS):
        path = rng.choice(files)
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(bad))
        found, refused = newest_checkpoint(tmp_path)
        assert found.step == 1, "a flipped byte went unnoticed"
        assert len(refused) == 1
        assert "is refused" in refused[0]
        path.write_bytes(good)
    assert newest_checkpoint(tmp_path)[0].step == 2


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_truncated_file_is_refused(tmp_path, cut):
    save(tmp_path, 1)
    for suffix in (".json", ".safetensors"):
        path = tmp_path / f"step-000000001{suffix}"
        good = path.read_bytes()
        path.write_bytes(good[:cut])
        assert newest_checkpoint(tmp_path)[0] is None
        path.write_bytes(good)


class FailingDisk:
    """Fails the n-th call of one kind that `write_atomically` makes."""

    def __init__(self, monkeypatch, call, nth, code):
        self.nth, self.code, self.count = nth, code, 0
        real_open = open
        if call == "open":
            monkeypatch.setattr(files, "open", self.failing(real_open), raising=False)
        elif call == "write":
            monkeypatch.setattr(
                files, "open", lambda *a: self.wrapped(real_open(*a)), raising=False
            )
        else:
            monkeypatch.setattr(files.os, call, self.failing(getattr(os, call)))

    def failing(self, real):
        def call(*arguments, **options):
            self.count += 1
            if self.count == self.nth:
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **options)

        return call

    @contextlib.contextmanager
    def wrapped(self, file):
        with file:
            yield SimpleNamespace(
                write=self.failing(file.write), flush=file.flush, fileno=file.fileno
            )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_at_any_write_leaves_the_old_checkpoint(tmp_path, monkeypatch, call, nth, code):
    before = save(tmp_path, 1)
    with monkeypatch.context() as patch:
        FailingDisk(patch, call, nth, code)
        with pytest.raises(OrreryError, match=rf"{re.escape(str(tmp_path))}.*bytes") as caught:
            save(tmp_path, 2)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.glob(".*.tmp"))
    found, refused = newest_checkpoint(tmp_path)
    assert (found.step, refused) == (1, [])
    torch.testing.assert_close(found.state, before, rtol=0, atol=0)
    save(tmp_path, 2)
    assert newest_checkpoint(tmp_path)[0].step == 2


def test_what_cannot_be_kept_is_named(tmp_path):
    class Odd:
        def state_dict(self):
            return {"a": {"b": object()}}

    with pytest.raises(OrreryError, match=r"object at state.0.a.b"):
        save_checkpoint(tmp_path, Checkpoint(
            step=1, complete=False, events=0, state=capture([Odd()]), random=None,
        ))  # fmt: skip
    with pytest.raises(OrreryError, match="holds 1 objects"):
        restore([], [{}])
