"""Whatever is typed: never a traceback; exit 2 and one line that names field, value and range."""

import contextlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orrery.catalog import experiments
from orrery.cli.main import COMMANDS, dispatch
from orrery.cli.parser import nearest
from orrery.errors import OrreryError, UsageError
from orrery.lab.experiment import load_experiment

STEMS = sorted(experiments())
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "--", "-1", "0", "nan", "inf", "1e999", "=cmd", "\x1b[31m", "深度", "a,b"]
    ),
    st.integers(-(10**12), 10**12).map(str),
    st.floats().map(str),
)
BAD_OPTIONS = st.sampled_from([
    "--scale", "--seed", "--seeds", "--ablate", "--threads", "--workers", "--device",
    "--checkpoint-seconds", "--sclae", "--nothing",
])  # fmt: skip


def error_of(work):
    """The error that `work` ends with, or None; anything but an OrreryError is a failure."""
    try:
        work()
    except OrreryError as error:
        return error
    return None


def refused(argv):
    """The error of a command line that must not run."""
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(UsageError) as caught:
        dispatch(argv)
    line = str(caught.value)
    assert line.strip()
    assert caught.value.exit_code == 2
    return line


@pytest.mark.timeout(600)
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_bad_settings_are_refused_in_one_line(data):
    stem = data.draw(st.sampled_from(STEMS))
    found = experiments()[stem]
    kind = load_experiment(found.area, stem).settings
    name = data.draw(st.sampled_from([*kind.model_fields, "nothing"]))
    value = data.draw(WORDS)
    error = error_of(lambda: kind.parse({name: value}))
    if error is not None:
        assert error.exit_code == 2
        assert name in str(error)
        assert "\n" not in str(error)
        assert str(error).isprintable() or not value.isprintable()


@pytest.mark.timeout(600)
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_bad_command_lines_are_refused(data):
    command = data.draw(st.sampled_from([*COMMANDS, "rnu", ""]))
    argv = [command]
    if command == "run":
        argv.append(data.draw(st.sampled_from([*STEMS, "residual_dept"])))
    argv += [data.draw(BAD_OPTIONS), data.draw(WORDS), "--surely-unknown", data.draw(WORDS)]
    with contextlib.redirect_stdout(io.StringIO()):
        error = error_of(lambda: dispatch(argv))
    if error is not None:
        assert error.exit_code == 2, error
        assert str(error).strip()


def test_the_line_names_field_value_and_range():
    line = refused(["run", "residual_depth", "--steps", "0"])
    assert "steps" in line
    assert "'0'" in line
    assert "1" in line
    assert "seeds" in refused(["run", "residual_depth", "--seeds", "0"])
    assert "smoke" in refused(["run", "residual_depth", "--scale", "smok"])
    assert "residual_depth" in refused(["run", "residual_dept"])
    assert "--scale" in refused(["run", "residual_depth", "--sclae", "smoke"])
    assert "no_shortcut" in refused(["run", "residual_depth", "--ablate", "nothing"])
    assert "did you mean run" in refused(["rnu"])


def test_nearest_lists_everything_when_nothing_is_near():
    assert nearest("zzz", ["a", "b"]) == "choose from a, b"
