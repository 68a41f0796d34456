"""`orrery COMMAND ...`: runs the command's file; an error becomes one line and an exit code."""

import importlib
import io
import os
import signal
import sys

from orrery import __version__
from orrery.cli.parser import nearest
from orrery.errors import OrreryError, UsageError
from orrery.files import leave

COMMANDS = {
    "tour": "run every experiment at a small size and open one page of verdicts",
    "run": "run an experiment: orrery run residual_depth --seeds 3",
    "resume": "go on with an interrupted run",
    "runs": "list the runs on this machine",
    "report": "print where a run's page is, making it anew",
    "record": "full run with every ablation; writes records/AREA/STEM.json",
    "systems": "list the systems of the plan and their state",
    "show": "everything known about one system, experiment or claim",
    "claims": "list the plan's claims, what sources say, and our verdicts",
    "plan": "walk through the guide: paths, timelines, debates, reading",
    "annotate": "walk through a system's own source, with notes, on one page",
    "illustrate": "look into the heads of a Transformer that reads your sentence",
    "data": "list, get and verify data sets",
    "pretrain": "make a small language model from raw text, stage by stage",
    "finetune": "have a language model learn to answer, on this machine",
    "quantise": "write a language model's file anew, with its weights in fewer bits",
    "generate": "have a real language model write, on this machine",
    "chat": "talk with it",
    "serve": "let other programs talk with it, by OpenAI's protocol",
    "compress": "compress a file by predicting it",
    "decompress": "bring back a file that was compressed",
    "doctor": "check this machine and installation",
    "completion": "print a script for bash, zsh or fish that completes commands and names",
}
EXAMPLES = (
    "orrery run residual_depth --scale smoke",
    "orrery claims --verdict fails",
    "orrery show ddim",
)


def usage() -> str:
    """The top-level help text."""
    width = max(map(len, COMMANDS))
    examples = "\n".join(f"  {line}" for line in EXAMPLES)
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        f"orrery {__version__}: working models of the great systems of AI, and tests of claims.\n\n"
        f"examples:\n{examples}\n\ncommands:\n{listing}\n\n"
        "`orrery COMMAND --help` says more."
    )


def dispatch(argv: list[str]) -> int:
    """Run one command; returns its exit code.

    Raises:
        UsageError: the command does not exist.
    """
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        raise UsageError(f"no command {name!r}; {nearest(name, COMMANDS)}")
    module = importlib.import_module(f"orrery.cli.{name}")
    code: int = module.main(rest)
    return code


def one_line(text: str) -> str:
    """`text` on one line, control codes spelled out: what was typed never drives the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def guarded(argv: list[str]) -> int:
    """Run one command; whatever goes wrong is one line on standard error. Returns its exit code.

    0 done, 1 failed, 2 bad usage, 3 a claim fails under --strict, 130 interrupted (by SIGTERM 143).
    """
    try:
        code = dispatch(argv)
        sys.stdout.flush()
    except OrreryError as error:
        _complain(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # the reader (head, less) went away: not an error of ours
        _give_up_output()
        code = 0
    except OSError as error:  # as when output goes to a full disk
        _give_up_output()
        _complain(str(error))
        code = 1
    except ImportError as error:
        if (error.name or "orrery").partition(".")[0] == "orrery":
            raise
        _complain(f"{error}; orrery doctor tells what is missing")
        code = 1
    return code


def main() -> None:
    """Entry point of the `orrery` command."""
    _open_streams()
    leave(guarded(sys.argv[1:]))


def _open_streams() -> None:
    """Standard streams that can be written: a closed one would lend its number to a file of ours.

    Letters that the terminal lacks are spelled out.
    """
    missing = os.open(os.devnull, os.O_RDWR)
    while missing <= 2:
        missing = os.dup(missing)  # takes the lowest number that is free
    os.close(missing)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Nothing more can be written: what is still buffered goes nowhere, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str) -> None:
    print(f"orrery: {one_line(text)}", file=sys.stderr)
