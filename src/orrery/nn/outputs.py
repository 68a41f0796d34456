"""What language models give back, under the names that the field expects."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModelOutput:
    """What a language model thinks of a batch."""

    logits: Float[Tensor, "b t v"]
    """For each position, scores of the vocabulary."""
    maps: tuple[Float[Tensor, "b h _ _"], ...] = ()
    """Attention weights, one tensor a layer, when asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderOutput:
    """What an encoder makes of a batch."""

    last_hidden_state: Float[Tensor, "b t d"]
    """A vector for each position."""
    pooler_output: Float[Tensor, "b d"] | None = None
    """One for the whole text, where the model has a pooler."""
    maps: tuple[Float[Tensor, "b h _ _"], ...] = ()
    """Attention weights, one tensor a layer, when asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierOutput:
    """What a classifier of texts thinks of a batch."""

    logits: Float[Tensor, "b classes"]
    """A score for each class."""
