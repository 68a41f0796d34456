"""The lab's promises: exact resume, no NaN, files whole, the same numbers for the same seed."""

import json

import pytest
import torch

from orrery.errors import Interrupted, NonFiniteError, OrreryError
from orrery.lab import Lab
from orrery.lab.events import Tape
from orrery.lab.run import csv_text
from tests.lab.toy import KilledError, final_state, run_toy, work


@pytest.mark.parametrize("kill_at", [0, 2, 6, 7, 11])
def test_killed_anywhere_resumes_bit_for_bit(tmp_path, kill_at):
    expected = run_toy(tmp_path / "whole")
    with pytest.raises(KilledError):
        run_toy(tmp_path / "killed", kill_at=kill_at)
    assert run_toy(tmp_path / "killed") == expected
    torch.testing.assert_close(
        final_state(tmp_path / "killed"), final_state(tmp_path / "whole"), rtol=0, atol=0
    )


def test_finished_phases_are_not_run_again(tmp_path):
    run_toy(tmp_path)
    assert run_toy(tmp_path, kill_at=0) == json.loads((tmp_path / "measured.json").read_text())


def test_seeds_differ_and_repeat(tmp_path):
    first, again, other = (Lab(tmp_path / n, s) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert first.rng("x", 3).initial_seed() == again.rng("x", 3).initial_seed()
    assert first.rng("x", 3).initial_seed() != first.rng("x", 4).initial_seed()
    assert first.rng("x", 3).initial_seed() != other.rng("x", 3).initial_seed()
    assert first.rng("x").initial_seed() != first.rng("y").initial_seed()
    assert first.numpy_rng("x").random() == again.numpy_rng("x").random()
    for lab in (first, again, other):
        lab.close()


@pytest.mark.parametrize("poison", ["loss", "gradient", "weight"])
def test_non_finite_stops_the_run_naming_step_and_quantity(tmp_path, poison):
    with pytest.raises(NonFiniteError, match=r"step 3 of a") as caught:
        run_toy(tmp_path, poison=poison)
    if poison == "gradient":
        assert "0.weight" in str(caught.value)
    assert not (tmp_path / "measured.json").exists()


def test_non_finite_measurement_is_refused(tmp_path):
    lab = Lab(tmp_path, 0)
    with pytest.raises(NonFiniteError, match="x is nan"):
        lab.measure("m", lambda: {"x": float("nan")})
    with pytest.raises(NonFiniteError, match="y is inf"):
        lab.finish({"y": float("inf")})
    lab.close()


def test_a_stop_saves_and_resumes(tmp_path):
    expected = run_toy(tmp_path / "whole")
    lab = Lab(tmp_path / "stopped", 5, checkpoint_seconds=1e9)
    lab.stop_requested = True
    with pytest.raises(Interrupted):
        work(lab)
    lab.close()
    assert run_toy(tmp_path / "stopped") == expected


def test_a_run_that_depends_on_more_than_its_seed_is_caught(tmp_path):
    tape = Tape(tmp_path / "events.jsonl", 0)
    tape.write({"loss": 1.0})
    length = tape.sync()
    tape.close()
    tape = Tape(tmp_path / "events.jsonl", length)
    with pytest.raises(OrreryError, match="outside seed and step"):
        tape.write({"loss": 2.0})
    tape.close()


def test_phases_need_their_own_names(tmp_path):
    lab = Lab(tmp_path, 0)
    list(lab.steps("a", 1))
    with pytest.raises(OrreryError, match="two phases"):
        list(lab.steps("a", 1))
    next(lab.steps("b", 1))
    with pytest.raises(OrreryError, match="inside"):
        list(lab.steps("c", 1))
    lab.close()


def test_tensorboard_reads_back_the_logged_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KilledError):
        run_toy(tmp_path, kill_at=8)
    run_toy(tmp_path)
    reader = EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for phase in ("a", "b"):
        logged = [(e["step"], e["loss"]) for e in events if e.get("phase") == phase]
        read = [(s.step, s.value) for s in reader.Scalars(f"{phase}/loss")]
        assert [s for s, _ in read] == [s for s, _ in logged]
        assert [v for _, v in read] == pytest.approx([v for _, v in logged], rel=1e-6)


def test_csv_neutralises_formulas():
    assert csv_text([{"a": "=cmd()", "b": 1.5}, {"a": "fine", "b": -2}]) == (
        "a,b\n'=cmd(),1.5\nfine,-2\n"
    )
