"""Mistral: Llama's decoder with grouped queries, in which a token sees a window of those before.

Layer upon layer the windows add up: after L of them a token knows of L (W - 1) before it, and the
cache still holds no more than W - 1.

Source: Jiang et al. 2023, "Mistral 7B", arXiv:2310.06825, section 2 and table 1; the published
config.json for epsilon and the base of the rotary positions.
Differs from the paper: the window counts the token itself, as the published code does, so a layer
looks back W - 1 tokens, not W.

Symbols: W the window, L the layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Int
from torch import Tensor

from orrery.catalog import System
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.pretrained import refuse_unsupported
from orrery.nn.rolling_cache import RollingCache
from orrery.systems.language.llama import (
    LlamaConfig,
    LlamaDecoder,
    read_sizes,
    write_sizes,
)

SYSTEM = System(
    stem="mistral", area="language", title="Mistral 7B", year=2023,
    papers=("arXiv:2310.06825",), builds_on=("llama",), realises=("mistral-7b",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Places = Int[Tensor, "b t"]
Seen = Int[Tensor, "b s"]  # 1 at the tokens that count, 0 at padding


@dataclass(frozen=True, kw_only=True, slots=True)
class MistralConfig:
    """Sizes of the decoder, and the window."""

    decoder: LlamaConfig = field(
        default_factory=lambda: LlamaConfig(
            context=131_072, groups=8, inner=14_336, epsilon=1e-6
        )
    )  # fmt: skip
    window: int | None = 4096
    """W, tokens that a token sees, itself included; all before it if None."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")
        if self.decoder.attention_bias or self.decoder.feed_forward_bias:
            raise ValueError("attention_bias and feed_forward_bias must be False, got True")

    @property
    def reach(self) -> int | None:
        """Tokens before it that a token knows of: L (W - 1)."""
        return None if self.window is None else self.decoder.depth * (self.window - 1)


def mistral_7b() -> MistralConfig:
    """7.2 billion parameters: version 0.1."""
    decoder = LlamaConfig(context=32_768, groups=8, inner=14_336, epsilon=1e-5)
    return MistralConfig(decoder=decoder)


class Mistral(LlamaDecoder):
    """A causal language model."""

    kind, architecture = "mistral", "MistralForCausalLM"

    def __init__(self, config: MistralConfig) -> None:
        super().__init__(config.decoder, window=config.window)
        self.config = config

    def cache(self) -> KeyValueCache:
        """An empty cache that keeps no more than the window needs."""
        window = self.config.window
        return KeyValueCache() if window is None else RollingCache(window=window)

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> MistralConfig:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {"model_type": ("mistral",), "layer_types": (None,)})
        given = {
            "num_key_value_heads": 8, "intermediate_size": 14_336,
            "max_position_embeddings": 131_072, **values,
        }  # fmt: skip
        sizes = replace(read_sizes(given), attention_bias=False, feed_forward_bias=False)
        return MistralConfig(decoder=sizes, window=values.get("sliding_window", 4096))

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        return {**write_sizes(self.config.decoder), "sliding_window": self.config.window}
