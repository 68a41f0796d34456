"""GPT: a Transformer's decoder alone, trained to predict the next token and then fine-tuned.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section
3.1 (equations 1 and 2) and section 4.1 for the sizes; the published config.json for epsilon and
the tanh form of GELU. Fine-tuning is `gpt1_classifier`.
Differs from the paper: nothing of the model; every matrix and bias starts as the paper says of
weights, normal with 0.02, and biases at 0.

Symbols: x the residual stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.causal_lm import CausalLm
from orrery.nn.attention import padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map
from orrery.nn.outputs import LanguageModelOutput
from orrery.nn.post_norm import PostNormBlock
from orrery.nn.pretrained import Row, refuse_unsupported

SYSTEM = System(
    stem="gpt1", area="language", title="GPT (the first)", year=2018,
    papers=("Radford et al. 2018",), builds_on=(), realises=("gpt-1",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Places = Int[Tensor, "b t"]
Seen = Int[Tensor, "b s"]  # 1 at the tokens that count, 0 at padding
Stream = Float[Tensor, "b t d"]

NAMES = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}
"""Activations under the names that its published config uses: there gelu is the tanh form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpt1Config:
    """Sizes; the defaults are the paper's, 117 million parameters."""

    vocab: int = 40_478
    context: int = 512
    """Longest sequence, in tokens."""
    depth: int = 12
    heads: int = 12
    width: int = 768
    activation: str = "gelu"
    """One of NAMES."""
    epsilon: float = 1e-5
    """Added to the variance in a norm."""
    dropout: float = 0.1
    tied: bool = True
    """One table of embeddings reads tokens in and scores them out."""

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.activation not in NAMES:
            raise ValueError(
                f"activation must be one of {', '.join(NAMES)}, got {self.activation!r}"
            )


class Gpt1(CausalLm):
    """A causal language model."""

    kind, architecture, prefix = "openai-gpt", "OpenAIGPTLMHeadModel", "transformer."
    unused = (r".*\.attn\.bias", r"transformer\.position_ids", r"lm_head\.weight")

    def __init__(self, config: Gpt1Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.place = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                config.width, config.heads, 4 * config.width, epsilon=config.epsilon,
                activation=NAMES[config.activation], dropout=config.dropout,
            )
            for _ in range(config.depth)
        )  # fmt: skip
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def states(
        self,
        input_ids: Tokens,
        attention_mask: Seen | None = None,
        *,
        position_ids: Places | None = None,
        cache: KeyValueCache | None = None,
        maps: list[Map] | None = None,
    ) -> Stream:
        """What the last block knows at every position; arguments as in `forward`.

        Raises:
            ValueError: the sequence, cache included, is longer than the context.
        """
        seen = len(cache) if cache is not None else 0
        end = seen + input_ids.shape[1]
        if end > self.config.context:
            raise ValueError(
                f"input_ids must be at most context={self.config.context} long, got {end}"
            )
        place = self.place.weight[seen:end] if position_ids is None else self.place(position_ids)
        x = self.drop(self.embed(input_ids) + place)
        bias = None if attention_mask is None else padding_bias(attention_mask, x)
        for layer, block in enumerate(self.blocks):
            x = block(x, bias, causal=True, cache=cache, layer=layer, maps=maps)
        return x

    def score(self, states: Stream) -> Float[Tensor, "b t v"]:
        """Scores of the next token."""
        return F.linear(states, (self.embed if self.head is None else self.head).weight)

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Seen | None = None,
        *,
        position_ids: Places | None = None,
        cache: KeyValueCache | None = None,
        maps: bool = False,
    ) -> LanguageModelOutput:
        """Scores of the next token at every position.

        Args:
            input_ids: the sequence; with a cache, only what the cache has not seen.
            attention_mask: 1 at the tokens that count, the cache's among them.
            position_ids: the place of each token; counted from the cache on if not given.
            cache: extended in place.
            maps: also give the attention weights of every layer.
        """
        kept: list[Map] | None = [] if maps else None
        states = self.states(
            input_ids, attention_mask, position_ids=position_ids, cache=cache, maps=kept
        )
        return LanguageModelOutput(logits=self.score(states), maps=tuple(kept or ()))

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> Gpt1Config:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {"model_type": ("openai-gpt",)})
        return Gpt1Config(
            vocab=values.get("vocab_size", 40_478),
            context=values.get("n_positions", 512),
            depth=values.get("n_layer", 12),
            heads=values.get("n_head", 12),
            width=values.get("n_embd", 768),
            activation=values.get("afn", "gelu"),
            epsilon=values.get("layer_norm_epsilon", 1e-5),
            dropout=values.get("resid_pdrop", 0.1),
            tied=values.get("tie_word_embeddings", True),
        )

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        return {
            "vocab_size": c.vocab, "n_positions": c.context, "n_layer": c.depth,
            "n_head": c.heads, "n_embd": c.width, "afn": c.activation,
            "layer_norm_epsilon": c.epsilon, "resid_pdrop": c.dropout, "embd_pdrop": c.dropout,
            "attn_pdrop": c.dropout, "tie_word_embeddings": c.tied,
        }  # fmt: skip

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands; their layers keep matrices as inputs by outputs."""
        block = "transformer.h.{}."
        return (
            Row("embed", "transformer.tokens_embed"),
            Row("place", "transformer.positions_embed"),
            Row("blocks.{}.attention.qkv", block + "attn.c_attn", transposed=True),
            Row("blocks.{}.attention.out", block + "attn.c_proj", transposed=True),
            Row("blocks.{}.norm_attention", block + "ln_1"),
            Row("blocks.{}.feed_forward.up", block + "mlp.c_fc", transposed=True),
            Row("blocks.{}.feed_forward.down", block + "mlp.c_proj", transposed=True),
            Row("blocks.{}.norm_feed_forward", block + "ln_2"),
            Row("head", "lm_head"),
        )
