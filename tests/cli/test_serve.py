"""`orrery serve`: what it refuses, and a process that answers until it is told to end."""

import json
import os
import signal
import socket
import subprocess
import sys

import openai
import pytest

from orrery.cli import serve
from orrery.cli.main import guarded
from tests.inference.serving import HI, tiny_file

TOKEN = "a-token-of-some-length"
RUN = "from orrery.cli.main import main; main()"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tiny_file(tmp_path_factory.mktemp("llm"))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached by others: it needs --token"),
        (["--host", "::"], "needs --token"),
        (["--host", "machine.example"], "needs --token"),
        (["--token", "short"], "--token must have 16 or more"),
        (["--token", "a token with a \u2028 line in it"], "--token must have 16 or more"),
        (["--port", "65536"], "--port must be in [0, 65535], got 65536"),
        (["--queue", "-1"], "--queue must be in [0, 10000], got -1"),
        (["--texts", "0"], "--texts must be in [1, 256], got 0"),
        (["--prot", "1"], "did you mean --port"),
    ],
)
def test_bad_usage_is_one_line(capsys, monkeypatch, argv, words):
    monkeypatch.delenv("ORRERY_TOKEN", raising=False)
    assert guarded(["serve", *argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.parametrize(
    ("host", "words"), [("127.0.0.1", "in use"), ("no.such.host.invalid", "cannot listen at")]
)
def test_an_address_that_cannot_be_had_is_one_line(capsys, monkeypatch, host, words):
    monkeypatch.setenv("ORRERY_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert guarded(["serve", "--host", host, "--port", port]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


def test_what_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: name != "uvicorn" or None)
    assert guarded(["serve"]) == 1
    assert "uvicorn is not installed; serve needs: pip install" in capsys.readouterr().err


def started(*argv, **environment):
    """A process that serves, and what it says when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", "--port", "0", *argv],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(file, number):
    """One of the two listens to all of the machine, with a token."""
    as_json = number == signal.SIGINT
    argv = ["--json"] if as_json else ["--host", "0.0.0.0"]
    token = {} if as_json else {"ORRERY_TOKEN": TOKEN}
    process, said = started(*argv, "--model", str(file), "--texts", "1", **token)
    if as_json:
        assert json.loads(said)["models"] == ["tiny", serve.EMBEDDER]
        address = json.loads(said)["address"]
    else:
        assert said.startswith("tiny is served at http://0.0.0.0:")
        address = said.split()[4].rstrip(";").replace("0.0.0.0", "127.0.0.1")
        stranger = openai.OpenAI(base_url=address, api_key="wrong", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
    client = openai.OpenAI(base_url=address, api_key=TOKEN, max_retries=0, timeout=30)
    asked = {"model": "tiny", "messages": HI, "seed": 1}
    assert client.chat.completions.create(**asked, max_tokens=2).usage.completion_tokens == 2
    ends = []
    for event in client.chat.completions.create(**asked, max_tokens=900, stream=True):
        ends.append(event.choices[0].finish_reason)
        if len(ends) == 3:
            process.send_signal(number)
    assert ends[-1] in ("stop", "length")  # the answer that was open came to its end
    assert process.wait(30) == 0
    errors = process.stderr.read()
    assert errors == f"reading {file}\n"
    assert TOKEN not in said + errors
    process.stdout.close()
    process.stderr.close()
    client.close()
