"""GPT-2: the decoder of GPT with its norms moved before each branch, in the published layout.

`Gpt2.from_pretrained(folder)` takes OpenAI's weights as Hugging Face publishes them, and
`save_pretrained` writes them back. The four sizes of the paper are presets.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3 and
table 2; the published config.json for epsilon, biases and the tanh form of GELU.
Differs from the paper: nothing of the model; of the initialisation the paper gives only the scale
of residual layers, the rest is GPT's normal distribution of standard deviation 0.02.

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
from orrery.nn.activation_names import refuse_unknown
from orrery.nn.attention import padding_bias
from orrery.nn.feed_forward import FeedForward
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Bias, Map, MultiHeadAttention
from orrery.nn.outputs import LanguageModelOutput
from orrery.nn.pretrained import Row, refuse_unsupported

SYSTEM = System(
    stem="gpt2", area="language", title="GPT-2", year=2019,
    papers=("Radford et al. 2019",), builds_on=(), realises=("gpt-2",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Places = Int[Tensor, "b t"]
Seen = Int[Tensor, "b s"]  # 1 at the tokens that count, 0 at padding
Stream = Float[Tensor, "b t d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpt2Config:
    """Sizes; the defaults are GPT-2 small's."""

    vocab: int = 50_257
    context: int = 1024
    """Longest sequence, in tokens."""
    depth: int = 12
    heads: int = 12
    width: int = 768
    inner: int | None = None
    """Width inside a feed-forward block; four times the width if not given."""
    activation: str = "gelu_new"
    epsilon: float = 1e-5
    """Added to the variance in a norm."""
    dropout: float = 0.1
    scaled: bool = True
    """Scores are divided by the square root of the head size."""
    scaled_by_layer: bool = False
    """Scores of layer l, from 1 on, are divided by l."""
    tied: bool = True
    """One table of embeddings reads tokens in and scores them out."""

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.inner is not None and self.inner < 1:
            raise ValueError(f"inner must be at least 1, got {self.inner}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        refuse_unknown(self.activation)


def gpt2_small() -> Gpt2Config:
    """124 million parameters."""
    return Gpt2Config()


def gpt2_medium() -> Gpt2Config:
    """355 million parameters."""
    return Gpt2Config(depth=24, heads=16, width=1024)


def gpt2_large() -> Gpt2Config:
    """774 million parameters."""
    return Gpt2Config(depth=36, heads=20, width=1280)


def gpt2_xl() -> Gpt2Config:
    """1,558 million parameters."""
    return Gpt2Config(depth=48, heads=25, width=1600)


class Gpt2Block(nn.Module):
    """Two branches, each normalised before and added to the stream after."""

    def __init__(self, config: Gpt2Config, layer: int) -> None:
        super().__init__()
        width, self.layer = config.width, layer
        self.scale = (width // config.heads) ** -0.5 if config.scaled else 1.0
        if config.scaled_by_layer:
            self.scale /= layer + 1
        self.norm_attention = nn.LayerNorm(width, eps=config.epsilon)
        self.attention = MultiHeadAttention(width, config.heads, dropout=config.dropout)
        self.norm_feed_forward = nn.LayerNorm(width, eps=config.epsilon)
        self.feed_forward = FeedForward(width, config.inner, activation=config.activation)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Stream, bias: Bias | None, cache: KeyValueCache | None, maps: list[Map] | None
    ) -> Stream:
        """The stream after this block."""
        y = self.attention(
            self.norm_attention(x), causal=True, bias=bias, scale=self.scale,
            cache=cache, layer=self.layer, maps=maps,
        )  # fmt: skip
        x = x + self.drop(y)
        return x + self.drop(self.feed_forward(self.norm_feed_forward(x)))


class Gpt2(CausalLm):
    """A causal language model."""

    kind, architecture, prefix = "gpt2", "GPT2LMHeadModel", "transformer."
    unused = (r".*\.attn\.(masked_)?bias", r"lm_head\.weight")

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.place = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Gpt2Block(config, layer) for layer in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Normal with 0.02, a residual branch's last layer smaller: the stream is a sum of them."""
        for name, parameter in self.named_parameters():
            last = name.endswith(("out.weight", "down.weight"))
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 * (2 * self.config.depth) ** -(0.5 * last))
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
            attention_mask: 1 at the tokens that count, the cache's among them.
            position_ids: the place of each token; counted from the cache on if not given.
            cache: extended in place.
            maps: also give the attention weights of every layer.

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
        kept: list[Map] | None = [] if maps else None
        for block in self.blocks:
            x = block(x, bias, cache, kept)
        head = self.embed if self.head is None else self.head
        return LanguageModelOutput(
            logits=F.linear(self.norm(x), head.weight), maps=tuple(kept or ())
        )

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> Gpt2Config:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {"model_type": ("gpt2",), "add_cross_attention": (False,)})
        return Gpt2Config(
            vocab=values.get("vocab_size", 50_257),
            context=values.get("n_positions", 1024),
            depth=values.get("n_layer", 12),
            heads=values.get("n_head", 12),
            width=values.get("n_embd", 768),
            inner=values.get("n_inner"),
            activation=values.get("activation_function", "gelu_new"),
            epsilon=values.get("layer_norm_epsilon", 1e-5),
            dropout=values.get("resid_pdrop", 0.1),
            scaled=values.get("scale_attn_weights", True),
            scaled_by_layer=values.get("scale_attn_by_inverse_layer_idx", False),
            tied=values.get("tie_word_embeddings", True),
        )

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        return {
            "vocab_size": c.vocab, "n_positions": c.context, "n_layer": c.depth,
            "n_head": c.heads, "n_embd": c.width, "n_inner": c.inner,
            "activation_function": c.activation, "layer_norm_epsilon": c.epsilon,
            "resid_pdrop": c.dropout, "embd_pdrop": c.dropout, "attn_pdrop": c.dropout,
            "scale_attn_weights": c.scaled, "tie_word_embeddings": c.tied,
            "scale_attn_by_inverse_layer_idx": c.scaled_by_layer,
        }  # fmt: skip

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands; their layers keep matrices as inputs by outputs."""
        block = "transformer.h.{}."
        return (
            Row("embed", "transformer.wte"),
            Row("place", "transformer.wpe"),
            Row("blocks.{}.norm_attention", block + "ln_1"),
            Row("blocks.{}.attention.qkv", block + "attn.c_attn", transposed=True),
            Row("blocks.{}.attention.out", block + "attn.c_proj", transposed=True),
            Row("blocks.{}.norm_feed_forward", block + "ln_2"),
            Row("blocks.{}.feed_forward.up", block + "mlp.c_fc", transposed=True),
            Row("blocks.{}.feed_forward.down", block + "mlp.c_proj", transposed=True),
            Row("norm", "transformer.ln_f"),
            Row("head", "lm_head"),
        )
