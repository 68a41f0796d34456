"""`orrery serve`: a language model for other programs, by OpenAI's protocol."""

import importlib.util
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.cli.generate import opened
from orrery.cli.parser import Parser
from orrery.errors import OrreryError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from orrery.inference.decoding import Constraint
    from orrery.inference.serving.service import Service
    from orrery.systems.language.local_llm import LocalLlm
    from orrery.systems.language.sentence_embedding import SentenceEncoder

EXAMPLES = (
    "orrery serve",
    "orrery serve --port 0 --json",
    "ORRERY_TOKEN=... orrery serve --host 0.0.0.0 --model model.gguf",
)
SHORTEST_TOKEN = 16
EMBEDDER = "all-MiniLM-L6-v2"
LARGEST_SCHEMA = 65_536


def main(argv: list[str]) -> int:
    """Serve until a signal comes; returns 0."""
    parser = Parser("serve", "Serve a language model by OpenAI's protocol.", EXAMPLES)
    parser.add_argument(
        "--host", default="127.0.0.1", help="default 127.0.0.1; others need a token"
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any that is free")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="GGUF; SmolLM2-135M-Instruct if not given"
    )
    parser.add_argument(
        "--token", metavar="T",
        help="that clients must bring; better told as ORRERY_TOKEN, which others cannot see",
    )  # fmt: skip
    parser.add_argument(
        "--queue", type=int, default=64, metavar="N", help="most texts that wait; default 64"
    )
    parser.add_argument(
        "--texts", type=int, default=8, metavar="N", help="most texts written at once; default 8"
    )
    parser.add_argument("--json", action="store_true", help="print the address as an object")
    chosen = parser.parse_args(argv)
    token = checked_token(chosen.token or os.environ.get("ORRERY_TOKEN") or None)
    for name, least, most in (("port", 0, 65535), ("queue", 0, 10_000), ("texts", 1, 256)):
        if not least <= getattr(chosen, name) <= most:
            got = getattr(chosen, name)
            raise UsageError(f"--{name} must be in [{least}, {most}], got {got}")
    missing = [name for name in ("fastapi", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise OrreryError(
            f"{missing[0]} is not installed; serve needs: pip install 'orrery-lab[serve]'"
        )
    return serve(chosen, token)


def checked_token(token: str | None) -> str | None:
    """A token that is fit to be one.

    Raises:
        UsageError: it is too short, or has letters that a header cannot carry.
    """
    if token is None or (len(token) >= SHORTEST_TOKEN and token.isascii() and token.isprintable()):
        return token
    raise UsageError(f"--token must have {SHORTEST_TOKEN} or more printable ASCII characters")


def serve(chosen: Any, token: str | None) -> int:
    """Listen, load the model and answer until a signal comes.

    Raises:
        UsageError: others could reach a server without a token.
        OrreryError: the address or the model cannot be had.
    """
    from orrery.inference.serving.app import guarded_app
    from orrery.inference.serving.guard import LOOPBACK
    from orrery.inference.serving.listening import Server, is_loopback, listen

    only_here = is_loopback(chosen.host)
    if not only_here and token is None:
        raise UsageError(f"--host {chosen.host} can be reached by others: it needs --token")
    with listen(chosen.host, chosen.port) as sock:
        shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        address = f"http://{shown}:{sock.getsockname()[1]}/v1"
        model = LocalModel(opened(chosen.model), chosen.model)
        service = service_of(model, texts=chosen.texts, queue=chosen.queue)

        def ready() -> None:
            as_object = json.dumps({"address": address, "models": service.names})
            line = f"{model.name} is served at {address}; Ctrl-C ends it"
            print(as_object if chosen.json else line, flush=True)

        hosts = {*LOOPBACK, shown} if only_here else None
        app = guarded_app(service, token=token, hosts=hosts)
        Server(app, service, ready).run(sockets=[sock])
    return 0


def service_of(model: "LocalModel", *, texts: int = 8, queue: int = 64) -> "Service":
    """A model, and MiniLM for embeddings, ready to be served."""
    from orrery.inference.serving.service import Service

    return Service(model, embedder=(EMBEDDER, minilm), texts=texts, queue=queue)


class LocalModel:
    """A `LocalLlm` as the server asks for it."""

    def __init__(self, llm: "LocalLlm", path: Path | None = None) -> None:
        """Take a model; its name for clients is its file's."""
        from orrery.inference.grammars.grammar import Grammar

        self.llm, self.model, self.end = llm, llm.model, llm.end
        self.context, self.vocab = llm.context, llm.model.config.vocab
        self.lock, self._grammars = threading.Lock(), dict[tuple[str, bool], Grammar]()
        self.name = (path or Path("SmolLM2-135M-Instruct.gguf")).stem
        self.encode("The first text takes longer than others.")

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a conversation.

        Raises:
            OrreryError: there is no template, or it refuses the messages.
        """
        return self.llm.prompt(messages)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.llm.tokenizer.encode(text)

    def bytes_of(self, token: int) -> bytes:
        """What a token stands for."""
        return self.llm.tokenizer.vocabulary.bytes_of(token)

    def constraint_of(self, schema: object, *, additional: bool, most: int) -> "Constraint":
        """What keeps one text of so many tokens to a schema; the last few grammars are kept.

        Raises:
            ValueError: that cannot be done.
        """
        from orrery.inference.grammars import json_grammar
        from orrery.systems.language.local_llm import GRAMMARS

        key = (json.dumps(schema), additional)
        if len(key[0]) > LARGEST_SCHEMA:
            raise UsageError(f"a schema must have at most {LARGEST_SCHEMA} characters")
        grammar = self._grammars.pop(key, None)
        if grammar is None:
            grammar = json_grammar.read(key[0], additional=additional)
        self._grammars[key] = grammar
        while len(self._grammars) > GRAMMARS:
            del self._grammars[next(iter(self._grammars))]
        with self.lock:
            constraint = self.llm.constraint(grammar, most)
        assert constraint is not None
        return constraint


class LocalEmbedder:
    """A `SentenceEncoder` as the server asks for it."""

    name = EMBEDDER

    def __init__(self, encoder: "SentenceEncoder") -> None:
        """Take an encoder."""
        self.encoder, self.longest = encoder, encoder.reader.longest

    def tokens(self, text: str) -> int:
        """How many a text has, with those at its ends."""
        return len(self.encoder.reader.tokenizer.encode(text)) + 2

    def embed(self, texts: Sequence[str]) -> "Tensor":
        """A vector for each text."""
        return self.encoder.encode(texts)


def minilm() -> LocalEmbedder:
    """The encoder that comes with orrery.

    Raises:
        OrreryError: it cannot be had.
    """
    from orrery.data.minilm import folder
    from orrery.systems.language.sentence_embedding import SentenceEncoder

    return LocalEmbedder(SentenceEncoder.from_pretrained(folder()))
