"""LLaMA: a decoder with RMSNorm, SwiGLU and rotary positions, in the published layout.

`Llama.from_pretrained(folder)` takes weights of Llama 1, 2 and 3 as Hugging Face publishes them;
the sizes of the first are presets here, those of the others in `llama2` and `llama3`.

Source: Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models",
arXiv:2302.13971, section 2.2 and table 2; the published config.json for epsilon, vocabulary and
the width inside feed-forward blocks; `orrery.nn.grouped_query` for groups of queries.
Differs from the paper: queries, keys and values come from one product, gate and value of a
feed-forward block from another; the paper gives no initialisation: normal with 0.02, as Hugging
Face has it.

Symbols: x the residual stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.causal_lm import CausalLm
from orrery.nn.activation_names import refuse_unknown
from orrery.nn.attention import Bias, padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.outputs import LanguageModelOutput
from orrery.nn.pretrained import Row, refuse_unsupported
from orrery.nn.rms_norm import RmsNorm
from orrery.nn.rotary import Turns
from orrery.nn.rotary_attention import GroupedQueryAttention
from orrery.nn.swiglu import SwiGlu
from orrery.systems.language.rope_scaling import Rope

SYSTEM = System(
    stem="llama", area="language", title="LLaMA", year=2023,
    papers=("arXiv:2302.13971",), builds_on=("rope_scaling",), realises=("llama",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Places = Int[Tensor, "b t"]
Seen = Int[Tensor, "b s"]  # 1 at the tokens that count, 0 at padding
Stream = Float[Tensor, "b t d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaConfig:
    """Sizes; the defaults are LLaMA 7B's."""

    vocab: int = 32_000
    context: int = 2048
    """Longest text it is made for; longer ones are read all the same."""
    depth: int = 32
    heads: int = 32
    groups: int | None = None
    """Heads of keys and values; as many as of queries if not given."""
    width: int = 4096
    inner: int = 11_008
    """Width inside a feed-forward block."""
    head_size: int | None = None
    """Numbers a head; width / heads if not given."""
    activation: str = "silu"
    epsilon: float = 1e-6
    """Added to the mean square in a norm."""
    dropout: float = 0.0
    """Share of the attention weights left out in training."""
    attention_bias: bool = False
    feed_forward_bias: bool = False
    tied: bool = False
    """One table of embeddings reads tokens in and scores them out."""
    rope: Rope = field(default_factory=Rope)

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "width", "inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.head_size is None and self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if self.groups is not None and (self.groups < 1 or self.heads % self.groups):
            raise ValueError(f"groups must divide heads={self.heads}, got {self.groups}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        refuse_unknown(self.activation)
        if self.rope.partial_rotary_factor < 1 and self.rope.rope_type not in (
            "default", "proportional",
        ):  # fmt: skip
            raise ValueError(
                "partial_rotary_factor must be 1 with rope_type "
                f"{self.rope.rope_type!r}, got {self.rope.partial_rotary_factor}"
            )
        self.rope.angles(self.size, self.context)  # refuses a head that cannot turn

    @property
    def size(self) -> int:
        """Numbers a head."""
        return self.head_size or self.width // self.heads

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.groups or self.heads


def llama_7b() -> LlamaConfig:
    """6.7 billion parameters."""
    return LlamaConfig()


def llama_13b() -> LlamaConfig:
    """13.0 billion parameters."""
    return LlamaConfig(depth=40, heads=40, width=5120, inner=13_824)


def llama_33b() -> LlamaConfig:
    """32.5 billion parameters."""
    return LlamaConfig(depth=60, heads=52, width=6656, inner=17_920)


def llama_65b() -> LlamaConfig:
    """65.2 billion parameters."""
    return LlamaConfig(depth=80, heads=64, width=8192, inner=22_016)


TRAINED_ON = {"7B": 1.0e12, "13B": 1.0e12, "33B": 1.4e12, "65B": 1.4e12}
"""Tokens of training (table 2)."""


def parameters(config: LlamaConfig) -> int:
    """How many numbers a model holds, without building it."""
    c, keys = config, 2 * config.key_heads * config.size
    queries = c.heads * c.size
    attention = c.width * (2 * queries + keys) + c.attention_bias * (queries + keys + c.width)
    inner = 3 * c.width * c.inner + c.feed_forward_bias * (2 * c.inner + c.width)
    tables = c.vocab * c.width * (1 if c.tied else 2)
    return tables + c.depth * (attention + inner + 2 * c.width) + c.width


def tokens_per_parameter() -> dict[str, float]:
    """Of each size: how long it was trained for what it holds."""
    sizes = {"7B": llama_7b(), "13B": llama_13b(), "33B": llama_33b(), "65B": llama_65b()}
    return {name: TRAINED_ON[name] / parameters(config) for name, config in sizes.items()}


class LlamaBlock(nn.Module):
    """Two branches, each normalised before and added to the stream after."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        c, self.layer = config, layer
        self.norm_attention = RmsNorm(c.width, epsilon=c.epsilon)
        self.attention = GroupedQueryAttention(
            c.width, c.heads, c.key_heads, c.size, bias=c.attention_bias, dropout=c.dropout
        )
        self.norm_feed_forward = RmsNorm(c.width, epsilon=c.epsilon)
        self.feed_forward = SwiGlu(
            c.width, c.inner, activation=c.activation, bias=c.feed_forward_bias
        )

    def forward(
        self,
        x: Stream,
        turns: Turns,
        bias: Bias | None,
        window: int | None,
        cache: KeyValueCache | None,
        maps: list[Tensor] | None,
    ) -> Stream:
        """The stream after this block."""
        x = x + self.attention(
            self.norm_attention(x), turns, bias=bias, window=window,
            cache=cache, layer=self.layer, maps=maps,
        )  # fmt: skip
        return x + self.feed_forward(self.norm_feed_forward(x))


class LlamaDecoder(CausalLm):
    """Tokens in, scores of the next ones out: Llama's, and with a window Mistral's."""

    prefix = "model."
    unused = (r".*\.rotary_emb\.inv_freq", r"lm_head\.weight")

    def __init__(self, config: LlamaConfig, *, window: int | None = None) -> None:
        """Make the layers.

        Args:
            config: sizes.
            window: tokens that a token sees in each layer, itself included; all if not given.
        """
        super().__init__()
        self.sizes, self.window = config, window
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(LlamaBlock(config, layer) for layer in range(config.depth))
        self.norm = RmsNorm(config.width, epsilon=config.epsilon)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

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
            attention_mask: 1 at the tokens that count, all those before among them.
            position_ids: the place of each token; counted from the cache on if not given.
            cache: extended in place.
            maps: also give the attention weights of every layer.
        """
        kept: list[Tensor] | None = [] if maps else None
        x = self.read(input_ids, attention_mask, position_ids, cache, kept)
        head = self.embed if self.head is None else self.head
        return LanguageModelOutput(logits=F.linear(x, head.weight), maps=tuple(kept or ()))

    def read(
        self,
        input_ids: Tokens,
        attention_mask: Seen | None = None,
        position_ids: Places | None = None,
        cache: KeyValueCache | None = None,
        maps: list[Tensor] | None = None,
    ) -> Stream:
        """The normalised stream after the last block, from which tokens are scored."""
        c, t, seen = self.sizes, input_ids.shape[1], len(cache) if cache is not None else 0
        x = self.embed(input_ids)
        places: Tensor | None = position_ids
        if places is None:
            places = torch.arange(seen, seen + t, device=x.device)
        cos, sin = c.rope.tables(places, c.size, c.context)
        turns = cos.to(x.dtype), sin.to(x.dtype)
        bias = None
        if attention_mask is not None:
            kept_before = cache.keys[0].shape[-2] if cache is not None and cache.keys else 0
            bias = padding_bias(attention_mask[:, -kept_before - t :], x)
        for block in self.blocks:
            x = block(x, turns, bias, self.window, cache, maps)
        return self.norm(x)

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        ours, theirs = "blocks.{}.", "model.layers.{}."
        attention, inner = theirs + "self_attn.", theirs + "mlp."
        qkv = (attention + "q_proj", attention + "k_proj", attention + "v_proj")
        return (
            Row("embed", "model.embed_tokens"),
            Row(ours + "norm_attention", theirs + "input_layernorm"),
            Row(ours + "attention.qkv", qkv),
            Row(ours + "attention.out", attention + "o_proj"),
            Row(ours + "norm_feed_forward", theirs + "post_attention_layernorm"),
            Row(ours + "feed_forward.gate_up", (inner + "gate_proj", inner + "up_proj")),
            Row(ours + "feed_forward.down", inner + "down_proj"),
            Row("norm", "model.norm"),
            Row("head", "lm_head"),
        )

    def parts(self, name: str, stacked: Tensor, count: int) -> tuple[Tensor, ...]:
        """Stacked maps taken apart: queries, keys and values, or gate and value."""
        if count != 3:
            return stacked.chunk(count)
        c = self.sizes
        return stacked.split([heads * c.size for heads in (c.heads, c.key_heads, c.key_heads)])


class Llama(LlamaDecoder):
    """A causal language model."""

    kind, architecture = "llama", "LlamaForCausalLM"

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.config = config

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> LlamaConfig:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {"model_type": ("llama",)})
        return read_sizes(values)

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        return {
            **write_sizes(c), "attention_bias": c.attention_bias, "mlp_bias": c.feed_forward_bias
        }  # fmt: skip


def read_sizes(values: Mapping[str, Any]) -> LlamaConfig:
    """The sizes in a published config of a Llama or a model of its kind."""
    return LlamaConfig(
        vocab=values.get("vocab_size", 32_000),
        context=values.get("max_position_embeddings", 2048),
        depth=values.get("num_hidden_layers", 32),
        heads=values.get("num_attention_heads", 32),
        groups=values.get("num_key_value_heads"),
        width=values.get("hidden_size", 4096),
        inner=values.get("intermediate_size", 11_008),
        head_size=values.get("head_dim"),
        activation=values.get("hidden_act", "silu"),
        epsilon=values.get("rms_norm_eps", 1e-6),
        dropout=float(values.get("attention_dropout") or 0),
        attention_bias=values.get("attention_bias", False),
        feed_forward_bias=values.get("mlp_bias", False),
        tied=values.get("tie_word_embeddings", False),
        rope=Rope.read(values),
    )


def write_sizes(c: LlamaConfig) -> dict[str, Any]:
    """The published settings, without biases."""
    rope = c.rope.write()
    older = {} if c.rope.rope_type == "default" else {"rope_scaling": rope}
    return {
        "vocab_size": c.vocab, "max_position_embeddings": c.context,
        "num_hidden_layers": c.depth, "num_attention_heads": c.heads,
        "num_key_value_heads": c.key_heads, "hidden_size": c.width,
        "intermediate_size": c.inner, "head_dim": c.size, "hidden_act": c.activation,
        "rms_norm_eps": c.epsilon, "attention_dropout": c.dropout,
        "tie_word_embeddings": c.tied, "rope_theta": c.rope.rope_theta,
        "rope_parameters": rope, **older,
    }  # fmt: skip
