"""T5: every task as text in, text out, by one encoder-decoder, in the published layout.

A task is named by a prefix of the source. Places are known only from how far apart two tokens are:
a learned bias for each head and each bucket of distances. The task of pre-training, stretches of
a text cut out and written as the target, is made by `text_noise.corrupt_spans`.

Source: Raffel et al. 2019, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer", arXiv:1910.10683, sections 2.1 and 3.3.4; Shazeer 2020, arXiv:2002.05202, for
the gates of version 1.1; the published config.json and code for the buckets and for the factor
1/sqrt(d) before a table that is shared with the output.
Differs from the paper: weights start normal with the sizes of the published code.

Symbols: d the width, t queries, s keys, h heads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.encoder_decoder import EncoderDecoder
from orrery.nn.activation_names import refuse_unknown
from orrery.nn.attention import padding_bias
from orrery.nn.feed_forward import FeedForward
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map, MultiHeadAttention
from orrery.nn.pretrained import Row, refuse_unsupported
from orrery.nn.rms_norm import RmsNorm
from orrery.nn.swiglu import SwiGlu

SYSTEM = System(
    stem="t5", area="language", title="T5", year=2019,
    papers=("arXiv:1910.10683", "arXiv:2002.05202"), builds_on=(), realises=("t5",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
SourceTokens = Int[Tensor, "b s"]
Stream = Float[Tensor, "b t d"]
Read = Float[Tensor, "b s d"]
Bias = Float[Tensor, "#b #h #t _"]


@dataclass(frozen=True, kw_only=True, slots=True)
class T5Config:
    """Sizes; the defaults are those of the first T5 small."""

    vocab: int = 32_128
    depth: int = 6
    decoder_depth: int | None = None
    """As deep as the encoder if not given."""
    heads: int = 8
    width: int = 512
    head_size: int = 64
    inner: int = 2048
    """Width inside a feed-forward block."""
    buckets: int = 32
    """Of distances."""
    farthest: int = 128
    """Distances from here on share a bucket."""
    activation: str = "relu"
    gated: bool = False
    """Feed-forward blocks have gates (version 1.1)."""
    epsilon: float = 1e-6
    dropout: float = 0.1
    tied: bool = True
    """One table of embeddings reads tokens in and scores them out."""
    scaled: bool = True
    """The stream is divided by sqrt(d) before it is scored."""
    start: int = 0
    """The token that a target begins with."""
    padding: int = 0
    end: int = 1

    def __post_init__(self) -> None:
        for name in ("vocab", "depth", "heads", "width", "head_size", "inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.decoder_depth is not None and self.decoder_depth < 1:
            raise ValueError(f"decoder_depth must be at least 1, got {self.decoder_depth}")
        if self.buckets < 4 or self.buckets % 2:
            raise ValueError(f"buckets must be even and at least 4, got {self.buckets}")
        if self.farthest <= self.buckets // 2:
            raise ValueError(
                f"farthest must be above half of buckets={self.buckets}, got {self.farthest}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        refuse_unknown(self.activation)


def t5_small() -> T5Config:
    """61 million parameters."""
    return T5Config()


def t5_base() -> T5Config:
    """223 million parameters."""
    return T5Config(depth=12, heads=12, width=768, inner=3072)


class RelativePlaces(nn.Module):
    """A learned bias for each head, by how far a key lies from a query."""

    def __init__(self, config: T5Config, *, both_ways: bool) -> None:
        super().__init__()
        self.buckets, self.farthest, self.both_ways = config.buckets, config.farthest, both_ways
        self.table = nn.Embedding(config.buckets, config.heads)

    def forward(self, t: int, s: int) -> Float[Tensor, "1 h t s"]:
        """The bias between the last t of s tokens and all of them."""
        device = self.table.weight.device
        distance = torch.arange(s, device=device) - torch.arange(s - t, s, device=device)[:, None]
        buckets = bucket(distance, self.buckets, self.farthest, both_ways=self.both_ways)
        return self.table(buckets).permute(2, 0, 1)[None]


def bucket(
    distance: Int[Tensor, "t s"], buckets: int, farthest: int, *, both_ways: bool
) -> Int[Tensor, "t s"]:
    """The bucket of each distance, place of the key less that of the query.

    Half of the buckets hold one distance each, the others grow as powers up to `farthest`. Keys
    that come after share half of all buckets if both ways are looked, else the bucket of 0.
    """
    start = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        start = (distance > 0) * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    near = buckets // 2
    share = (distance.clamp(min=1) / near).log() / math.log(farthest / near)
    far = (near + (share * (buckets - near)).long()).clamp(max=buckets - 1)
    return start + torch.where(distance < near, distance, far)


class T5Block(nn.Module):
    """Branches normalised before and added after: itself, in a decoder the source, feed-forward."""

    def __init__(self, config: T5Config, layer: int, *, decodes: bool) -> None:
        super().__init__()
        c, self.layer, self.decodes = config, layer, decodes
        self.norm_attention = RmsNorm(c.width, epsilon=c.epsilon)
        self.attention = self.attend(c)
        if decodes:
            self.norm_across = RmsNorm(c.width, epsilon=c.epsilon)
            self.across = self.attend(c)
        self.norm_feed_forward = RmsNorm(c.width, epsilon=c.epsilon)
        make = SwiGlu if c.gated else FeedForward
        self.feed_forward = make(c.width, c.inner, activation=c.activation, bias=False)
        self.drop = nn.Dropout(c.dropout)

    @staticmethod
    def attend(c: T5Config) -> MultiHeadAttention:
        """Attention of the config's sizes."""
        return MultiHeadAttention(
            c.width, c.heads, head_size=c.head_size, bias=False, dropout=c.dropout
        )

    def forward(
        self,
        x: Stream,
        bias: Bias,
        source: Read | None = None,
        source_bias: Bias | None = None,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        maps: list[Map] | None = None,
    ) -> Stream:
        """The stream after this block."""
        y = self.attention(
            self.norm_attention(x), causal=self.decodes, bias=bias, scale=1.0, cache=own,
            layer=self.layer, maps=None if self.decodes else maps,
        )  # fmt: skip
        x = x + self.drop(y)
        if self.decodes:
            y = self.across(
                self.norm_across(x), source, bias=source_bias, scale=1.0, cache=across,
                layer=self.layer, maps=maps,
            )  # fmt: skip
            x = x + self.drop(y)
        return x + self.drop(self.feed_forward(self.norm_feed_forward(x)))


class T5Stack(nn.Module):
    """The encoder, or the decoder: its blocks, its places, its last norm."""

    def __init__(self, config: T5Config, depth: int, *, decodes: bool) -> None:
        super().__init__()
        self.places = RelativePlaces(config, both_ways=not decodes)
        self.blocks = nn.ModuleList(T5Block(config, i, decodes=decodes) for i in range(depth))
        self.norm = RmsNorm(config.width, epsilon=config.epsilon)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Stream,
        own_bias: Bias | None,
        source: Read | None = None,
        source_bias: Bias | None = None,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        maps: list[Map] | None = None,
    ) -> Stream:
        """The normalised stream after the last block; `own_bias` goes with the places'."""
        t = x.shape[1]
        bias = self.places(t, t + (len(own) if own is not None else 0))
        if own_bias is not None:
            bias = bias + own_bias
        x = self.drop(x)
        for block in self.blocks:
            x = block(x, bias, source, source_bias, own, across, maps)
        return self.drop(self.norm(x))


class T5(EncoderDecoder):
    """Text to text."""

    kind, architecture = "t5", "T5ForConditionalGeneration"
    unused = (r"(en|de)coder\.embed_tokens\.weight", r"lm_head\.weight",
              r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
              )  # fmt: skip

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.vocab, c.width)
        self.encoder = T5Stack(c, c.depth, decodes=False)
        self.decoder = T5Stack(c, c.decoder_depth or c.depth, decodes=True)
        self.head = None if c.tied else nn.Linear(c.width, c.vocab, bias=False)
        inner = c.heads * c.head_size
        for name, weight in self.named_parameters():
            if name.endswith("qkv.weight"):
                nn.init.normal_(weight, std=c.width**-0.5)
                with torch.no_grad():  # scores are not scaled, so queries start smaller
                    weight[:inner] *= c.head_size**-0.5
            elif name.endswith("attention.out.weight"):
                nn.init.normal_(weight, std=inner**-0.5)
            elif weight.ndim == 2 and name != "embed.weight":
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    @property
    def start(self) -> int:
        """The token that a target begins with."""
        return self.config.start

    def encode(
        self,
        input_ids: SourceTokens,
        seen: SourceTokens | None = None,
        *,
        maps: list[Map] | None = None,
    ) -> Read:
        """A vector for each token of the source; padding (0 in `seen`) is not looked at."""
        x = self.embed(input_ids)
        return self.encoder(x, None if seen is None else padding_bias(seen, x), maps=maps)

    def decode(
        self,
        target: Tokens,
        source: Read,
        seen: SourceTokens | None = None,
        *,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        own_bias: Tensor | None = None,
        maps: list[Map] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Scores of the next token; arguments as of `EncoderDecoder`."""
        bias = None if seen is None else padding_bias(seen, source)
        x = self.decoder(self.embed(target), own_bias, source, bias, own, across, maps)
        if self.config.scaled:
            x = x * self.config.width**-0.5
        return F.linear(x, (self.embed if self.head is None else self.head).weight)

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> T5Config:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {"model_type": ("t5",), "is_decoder": (False,)})
        gate, _, activation = str(values.get("feed_forward_proj", "relu")).rpartition("-")
        if gate not in ("", "gated"):
            raise ValueError(f"feed_forward_proj must be NAME or gated-NAME, got {gate}-...")
        if gate and activation == "gelu":
            activation = "gelu_new"  # as it was in the code of version 1.1
        tied, start = values.get("tie_word_embeddings", True), values.get("decoder_start_token_id")
        end, padding = values.get("eos_token_id", 1), values.get("pad_token_id", 0)
        return T5Config(
            vocab=values.get("vocab_size", 32_128),
            depth=values.get("num_layers", 6),
            decoder_depth=values.get("num_decoder_layers"),
            heads=values.get("num_heads", 8),
            width=values.get("d_model", 512),
            head_size=values.get("d_kv", 64),
            inner=values.get("d_ff", 2048),
            buckets=values.get("relative_attention_num_buckets", 32),
            farthest=values.get("relative_attention_max_distance", 128),
            activation=activation,
            gated=bool(gate),
            epsilon=values.get("layer_norm_epsilon", 1e-6),
            dropout=values.get("dropout_rate", 0.1),
            tied=tied,
            scaled=values.get("scale_decoder_outputs", tied),
            start=start if start is not None else padding or 0,
            padding=padding or 0,
            end=end if isinstance(end, int) else 1,
        )

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        activation = "gelu" if c.gated and c.activation == "gelu_new" else c.activation
        return {
            "vocab_size": c.vocab, "num_layers": c.depth,
            "num_decoder_layers": c.decoder_depth or c.depth, "num_heads": c.heads,
            "d_model": c.width, "d_kv": c.head_size, "d_ff": c.inner,
            "relative_attention_num_buckets": c.buckets,
            "relative_attention_max_distance": c.farthest,
            "feed_forward_proj": f"gated-{activation}" if c.gated else activation,
            "layer_norm_epsilon": c.epsilon, "dropout_rate": c.dropout,
            "tie_word_embeddings": c.tied, "scale_decoder_outputs": c.scaled,
            "decoder_start_token_id": c.start, "pad_token_id": c.padding, "eos_token_id": c.end,
            "is_encoder_decoder": True,
        }  # fmt: skip

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        rows = [Row("embed", "shared"), Row("head", "lm_head")]
        for stack, last in (("encoder", 1), ("decoder", 2)):
            ours, theirs = f"{stack}.blocks.{{}}.", f"{stack}.block.{{}}.layer."
            for name, at in (("attention", "0.SelfAttention."), ("across", "1.EncDecAttention.")):
                asked = tuple(f"{theirs}{at}{part}" for part in "qkv")
                rows += [
                    Row(f"{ours}{name}.qkv", asked),
                    Row(f"{ours}{name}.out", f"{theirs}{at}o"),
                    Row(f"{ours}norm_{name}", f"{theirs}{at[0]}.layer_norm"),
                ]
            dense = f"{theirs}{last}.DenseReluDense."
            rows += [
                Row(f"{ours}feed_forward.up", dense + "wi"),
                Row(f"{ours}feed_forward.gate_up", (dense + "wi_0", dense + "wi_1")),
                Row(f"{ours}feed_forward.down", dense + "wo"),
                Row(f"{ours}norm_feed_forward", f"{theirs}{last}.layer_norm"),
                Row(f"{stack}.places.table",
                    f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"),
                Row(f"{stack}.norm", f"{stack}.final_layer_norm"),
            ]  # fmt: skip
        return tuple(rows)
