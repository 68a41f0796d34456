"""What the server asks of a language model, and of a model that makes embeddings."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Protocol, runtime_checkable

from torch import Tensor

from orrery.inference.batching import BatchModel
from orrery.inference.decoding import Constraint


@runtime_checkable
class ServedModel(Protocol):
    """A language model with its tokeniser and its template."""

    name: str
    """By which clients ask for it."""
    model: BatchModel
    end: int
    """The token that ends a text."""
    context: int
    """Longest text, its answer included."""
    vocab: int
    """Tokens that the model knows: those below this."""
    lock: Lock
    """Held when a constraint of the model is used: they may share what they know."""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins.

        Raises:
            OrreryError: they cannot be had.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        ...

    def bytes_of(self, token: int) -> bytes:
        """What a token stands for."""
        ...

    def constraint_of(self, schema: object, *, additional: bool, most: int) -> Constraint:
        """What keeps one text to JSON of a schema; the engine's thread will use it.

        Args:
            schema: as `json.loads` gives it.
            additional: objects whose schema does not say so may have further properties.
            most: tokens that the text may have.

        Raises:
            ValueError: the schema says what cannot be kept to, or asks for more tokens.
        """
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Texts to vectors."""

    name: str
    longest: int
    """Of a text, in tokens."""

    def tokens(self, text: str) -> int:
        """How many a text has."""
        ...

    def embed(self, texts: Sequence[str]) -> Tensor:
        """A vector [n d] for each."""
        ...
