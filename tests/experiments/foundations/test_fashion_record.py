import numpy as np
import pytest
import torch
from torch import Generator, nn

from orrery.data.labelled import Labelled
from orrery.experiments.foundations._logbook import Logbook
from orrery.experiments.foundations._speedrun import (
    PLAIN,
    Speedrun,
    Tricks,
    as_pictures,
    told_right,
)
from orrery.experiments.foundations.fashion_record import ARMS, without
from orrery.systems.foundations.augmentation import flip


def rng(name, *index):
    return Generator().manual_seed(sum(map(ord, name)) + 1_000 * sum(index))


def pictures(count=60, seed=0):
    """Bright at the top or at the bottom."""
    labels = torch.arange(count) % 2
    images = 0.1 * torch.rand(count, 1, 16, 16, generator=Generator().manual_seed(seed))
    images[labels == 0, :, :8] += 1
    images[labels == 1, :, 8:] += 1
    return images, labels


def runner(recipe, epochs=4, batch=10):
    return Speedrun(recipe, pictures(), (8, 8, 16), epochs=epochs, batch=batch, rng=rng)


def test_black_is_0_and_nothing_else_changes():
    part = Labelled(np.arange(256, dtype=np.uint8).reshape(4, 8, 8), np.arange(4))
    images, labels = as_pictures(part, torch.device("cpu"))
    assert images.shape == (4, 1, 8, 8)
    assert images.flatten()[0] == 0
    scaled = images.float().flatten() / images.max()
    torch.testing.assert_close(scaled, torch.arange(256) / 255, rtol=0, atol=1 / 128)
    assert labels.tolist() == [0, 1, 2, 3]


def test_an_arm_lacks_one_trick():
    assert without("recipe") == Tricks()
    assert without("muon") == Tricks(muon=False)
    assert len(ARMS) == 2 + len(Tricks.__dataclass_fields__)


def test_a_pass_shows_every_picture_once_and_two_passes_both_faces():
    run = runner(Tricks(shifts=False, whitening=False))
    seen = [[run.examples(step)[0] for step in range(6 * e, 6 * e + 6)] for e in range(2)]
    first, second = (torch.cat(batches) for batches in seen)
    everything = pictures()[0].flatten(1).sum(1).sort().values
    for one in (first, second):
        torch.testing.assert_close(one.flatten(1).sum(1).sort().values, everything)
    a, b = (one[one.flatten(1).sum(1).argsort()] for one in (first, second))
    torch.testing.assert_close(a, flip(b, torch.ones(60, dtype=torch.bool)))


def test_shifts_move_by_a_pixel_at_most_and_black_comes_in():
    run = runner(Tricks(flips=False))
    moved, labels = run.examples(0)
    plain, _ = runner(Tricks(flips=False, shifts=False)).examples(0)
    assert len(labels) == 10
    for one, before in zip(moved, plain, strict=True):
        padded = nn.functional.pad(before, (1, 1, 1, 1))
        windows = padded.unfold(1, 16, 1).unfold(2, 16, 1).reshape(9, 16, 16)
        assert (windows == one).flatten(1).all(1).any()


@pytest.mark.parametrize("recipe", [Tricks(), PLAIN])
def test_it_learns_to_tell_top_from_bottom(recipe):
    run, held_out = runner(recipe), pictures(seed=1)
    losses = []
    for step in range(run.steps):
        losses.append(float(run.learn(step)))
        if run.ends_epoch(step):
            run.book.note(told_right(run.net, held_out, views=False))
    assert losses[0] > 1.5
    assert run.book.right[-1] == told_right(run.net, held_out, views=True) == 1.0
    assert 0 < run.book.seconds[0] < run.book.seconds[-1] == run.book.spent_seconds


def test_tricks_left_out_are_left_out():
    whole, plain = runner(Tricks()), runner(PLAIN)
    assert not whole.net.first.weight.requires_grad
    assert plain.net.first.weight.requires_grad
    assert [len(run.optimisers) for run in (whole, plain)] == [2, 1]
    for run in (whole, plain):
        held = {p for o in run.optimisers for g in o.param_groups for p in g["params"]}
        assert held == {p for p in run.net.parameters() if p.requires_grad}


def test_the_time_to_a_level_is_that_of_the_first_pass_that_reaches_it():
    book = Logbook(3)
    for right in (0.5, 0.9, 0.8):
        book.spent_seconds += 10.0
        book.note(right)
    assert book.reached(0.5, 0.85) == 10.0
    assert book.reached(0.9, 0.85) == 20.0
    assert book.reached(0.95, 0.96) == 30.0  # only by the last verdict
    assert book.reached(0.97, 0.96) is None
