"""`orrery chat`: a conversation with a language model on this machine."""

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.cli.generate import add_options, checked, figures, line, opened
from orrery.cli.parser import Parser
from orrery.errors import OrreryError
from orrery.files import write_json

if TYPE_CHECKING:
    from orrery.systems.language.local_llm import LocalLlm

EXAMPLES = ("orrery chat", 'orrery chat --system "Answer in one sentence." --temperature 0.7')
HELP = """\
/system TEXT  what the model is told before all else (empty: nothing); begins anew
/again        forget the conversation
/save FILE    write the conversation as JSON
/help         this list
/quit         leave; so does Ctrl-D
A line that ends with \\ goes on in the next. Ctrl-C stops an answer."""


def main(argv: list[str]) -> int:
    """Talk until the input ends; returns 0."""
    parser = Parser("chat", "Talk with a language model.", EXAMPLES)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print an object an answer")
    chosen = parser.parse_args(argv)
    options = checked(chosen)
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # history and editing where a terminal has them
    talk = Talk(opened(chosen.model), options, seed=chosen.seed, as_json=chosen.json)
    talk.begin(chosen.system)
    if sys.stdin.isatty():
        print(f"{talk.model.name}. /help lists what else there is.", file=sys.stderr)
    for said in lines():
        if said == "/quit":
            break
        if said.startswith("/"):
            talk.command(said)
        elif said.strip():
            talk.answer(said)
    return 0


class Talk:
    """A conversation: what was said, and what the model has read of it."""

    def __init__(
        self, model: "LocalLlm", options: dict[str, Any], *, seed: int, as_json: bool
    ) -> None:
        import torch

        self.model, self.options, self.as_json = model, options, as_json
        self.read = model.nothing_read()
        self.generator = torch.Generator().manual_seed(seed)
        self.messages: list[dict[str, str]] = []
        self.system = ""

    def begin(self, system: str) -> None:
        """Forget what was said; `system` comes before all else."""
        self.system = system
        self.messages = [{"role": "system", "content": system}] if system else []

    def answer(self, said: str) -> None:
        """Print the model's answer as it is written; Ctrl-C stops it, and it stays as it is."""
        from orrery.inference.streaming import Pace

        self.messages.append({"role": "user", "content": said})
        pace, pieces = Pace(), list[str]()
        try:
            prompt = self.model.prompt(self.messages)
            answer = self.model.write(
                prompt, read=self.read, pace=pace, generator=self.generator, **self.options
            )
            for piece in answer:
                pieces.append(piece)
                self.show(piece)
        except KeyboardInterrupt:
            self.show(" [stopped]")
        except OrreryError as error:
            self.messages.pop()
            print(f"orrery: {error}; /again begins anew", file=sys.stderr)
            return
        text = "".join(pieces)
        self.messages.append({"role": "assistant", "content": text})
        if self.as_json:
            print(json.dumps({"text": text, **figures(pace)}), flush=True)
        else:
            print()
            print(line(pace), file=sys.stderr)

    def show(self, piece: str) -> None:
        """Print part of an answer, for people."""
        if not self.as_json:
            print(piece, end="", flush=True)

    def command(self, said: str) -> None:
        """Do what a line that begins with / asks for."""
        name, _, rest = said.partition(" ")
        match name:
            case "/system":
                self.begin(rest.strip())
            case "/again":
                self.begin(self.system)
            case "/save" if rest.strip():
                try:
                    write_json(Path(rest.strip()), {"messages": self.messages})
                except OrreryError as error:
                    print(f"orrery: {error}", file=sys.stderr)
            case "/help":
                print(HELP)
            case _:
                print(f"orrery: no {said!r} here; /help lists what there is", file=sys.stderr)


def lines() -> Iterator[str]:
    r"""What is typed or piped in: a line, or several where each but the last ends with a \."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            said = input(prompt)
            while said.endswith("\\"):
                said = said[:-1] + "\n" + input("… " if prompt else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        yield said
