"""`orrery` commands as forks of one process that has torch loaded: the imports are paid once.

Each command still is a process of its own, with its own session, streams and exit code, and the
workers it starts are ordinary ones. Server side: `python -m tests.cli.forks`.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from orrery.cli.main import main
from orrery.home import home


class Command:
    """One running command."""

    def __init__(self, forks: "Forks", pid: int, out: Path, err: Path) -> None:
        self.pid, self._forks, self._out, self._err = pid, forks, out, err

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        return self._forks.ask({"wait": self.pid})

    @property
    def out(self) -> str:
        return self._out.read_text("utf8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf8")


class Forks:
    """The process that is forked, with this environment, mask and working folder."""

    def __init__(self, folder: Path, environment: dict[str, str], umask: int = -1) -> None:
        self._folder, self._count = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.cli.forks", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, umask=umask, env=environment,
        )  # fmt: skip

    def ask(self, request: dict[str, object]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, *argv: str, **environment: str) -> Command:
        """Start a command."""
        self._count += 1
        out, err = (self._folder.parent / f"{self._count}.{kind}" for kind in ("out", "err"))
        request = {"argv": argv, "out": str(out), "err": str(err), "environment": environment}
        return Command(self, self.ask(request), out, err)

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def new_home(folder: Path) -> Path:
    """A home without runs; what is fetched and compiled once is shared by all of them."""
    folder.mkdir()
    for shared in ("data", "cache"):
        (home() / shared).mkdir(exist_ok=True)
        (folder / shared).symlink_to(home() / shared)
    return folder


def workers_of(folder: Path) -> list[int]:
    """The worker processes of a run, by what their command lines say."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if b"orrery.lab.worker" in words and os.fsencode(folder) in words:
            found.append(int(place.name))
    return found


def seconds_until(condition, limit: float = 200.0) -> float:
    """How long it takes until something is true."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, "it never came to be"
        time.sleep(0.02)
    return time.monotonic() - start


def serve(folder: str) -> None:
    """Fork a child for each request and tell its number, or wait for one and tell its code."""
    import orrery.lab.launch  # noqa: F401  (what is to be paid once)

    os.chdir(folder)
    running = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            running.remove(request["wait"])
        else:
            answer = os.fork()
            if answer == 0:
                become(request)
            running.add(answer)
        print(answer, flush=True)
    for pid in running:  # a test failed and left them
        os.kill(pid, signal.SIGKILL)


def become(request: dict[str, object]) -> None:
    """Be the command; never returns."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(str(request[name]), os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= request["environment"]  # type: ignore[operator]
    sys.argv = ["orrery", *request["argv"]]  # type: ignore[misc]
    try:
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


if __name__ == "__main__":
    serve(sys.argv[1])
