"""BART: an encoder that reads a damaged text, a decoder that writes it whole, as published.

The encoder is BERT's, the decoder is GPT's with attention to what was read. The damage is made by
`orrery.systems.language.text_noise`.

Source: Lewis et al. 2019, "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language
Generation, Translation, and Comprehension", arXiv:1910.13461, section 2; the published config.json
and code for the sizes, for places that begin at the third row of their table, and for the norm
after the embeddings.
Differs from the paper: dropout is the same for attention weights as for what a branch adds; the
published weights have 0 and 0.1.

Symbols: d the width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.encoder_decoder import EncoderDecoder
from orrery.nn.activation_names import refuse_unknown
from orrery.nn.attention import padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map
from orrery.nn.post_norm import PostNormBlock, PostNormDecoderBlock
from orrery.nn.pretrained import Row, refuse_unsupported

SYSTEM = System(
    stem="bart", area="language", title="BART", year=2019,
    papers=("arXiv:1910.13461",), builds_on=(), realises=("bart",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
SourceTokens = Int[Tensor, "b s"]
Read = Float[Tensor, "b s d"]
FIRST_PLACE = 2  # rows of the table of places before it are not used


@dataclass(frozen=True, kw_only=True, slots=True)
class BartConfig:
    """Sizes; the defaults are BART base's."""

    vocab: int = 50_265
    context: int = 1024
    """Longest text, in tokens."""
    depth: int = 6
    decoder_depth: int | None = None
    """As deep as the encoder if not given; so with the next two."""
    heads: int = 12
    decoder_heads: int | None = None
    inner: int = 3072
    """Width inside a feed-forward block."""
    decoder_inner: int | None = None
    width: int = 768
    activation: str = "gelu"
    dropout: float = 0.1
    scaled: bool = False
    """Embeddings are multiplied by sqrt(d)."""
    start: int = 2
    """The token that a target begins with."""
    padding: int = 1
    end: int = 2

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "inner", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("decoder_depth", "decoder_heads", "decoder_inner"):
            if (getattr(self, name) or 1) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for heads in (self.heads, self.decoder_heads or self.heads):
            if self.width % heads:
                raise ValueError(f"width must be a multiple of heads={heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        refuse_unknown(self.activation)


def bart_base() -> BartConfig:
    """139 million parameters."""
    return BartConfig()


def bart_large() -> BartConfig:
    """406 million parameters."""
    return BartConfig(depth=12, heads=16, inner=4096, width=1024)


class BartSide(nn.Module):
    """The encoder or the decoder: places, a norm, and blocks."""

    def __init__(self, config: BartConfig, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.place = nn.Embedding(config.context + FIRST_PLACE, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(blocks)

    def begin(self, x: Read, start: int = 0) -> Read:
        """Embeddings with their places from `start` on, normalised.

        Raises:
            ValueError: the text is longer than the context.
        """
        most, length = len(self.place.weight) - FIRST_PLACE, start + x.shape[1]
        if length > most:
            raise ValueError(f"a text must be at most context={most} long, got {length}")
        places = self.place.weight[FIRST_PLACE + start : FIRST_PLACE + length]
        return self.drop(self.norm(x + places))


class Bart(EncoderDecoder):
    """Damaged text in, whole text out."""

    kind, architecture = "bart", "BartForConditionalGeneration"
    bias: Tensor
    unused = (r"model\.(en|de)coder\.embed_tokens\.weight", r"lm_head\.weight")

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.vocab, c.width, padding_idx=c.padding)
        self.encoder = BartSide(c, [
            PostNormBlock(c.width, c.heads, c.inner, activation=c.activation, dropout=c.dropout)
            for _ in range(c.depth)
        ])  # fmt: skip
        self.decoder = BartSide(c, [
            PostNormDecoderBlock(
                c.width, c.decoder_heads or c.heads, c.decoder_inner or c.inner, layer=layer,
                activation=c.activation, dropout=c.dropout,
            )
            for layer in range(c.decoder_depth or c.depth)
        ])  # fmt: skip
        self.register_buffer("bias", self.embed.weight.new_zeros(1, c.vocab))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def start(self) -> int:
        """The token that a target begins with."""
        return self.config.start

    def embedded(self, tokens: SourceTokens) -> Read:
        """The embeddings of tokens."""
        return self.embed(tokens) * (self.config.width**0.5 if self.config.scaled else 1.0)

    def encode(
        self,
        input_ids: SourceTokens,
        seen: SourceTokens | None = None,
        *,
        maps: list[Map] | None = None,
    ) -> Read:
        """A vector for each token of the source; padding (0 in `seen`) is not looked at."""
        x = self.encoder.begin(self.embedded(input_ids))
        bias = None if seen is None else padding_bias(seen, x)
        for block in self.encoder.blocks:
            x = block(x, bias, maps=maps)
        return x

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
        x = self.decoder.begin(self.embedded(target), 0 if own is None else len(own))
        bias = None if seen is None else padding_bias(seen, source)
        for block in self.decoder.blocks:
            x = block(x, source, bias, own, across, maps, own_bias=own_bias)
        return F.linear(x, self.embed.weight) + self.bias

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> BartConfig:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {
            "model_type": ("bart",), "is_decoder": (False,), "tie_word_embeddings": (True,),
        })  # fmt: skip
        end, start = values.get("eos_token_id", 2), values.get("decoder_start_token_id", 2)
        return BartConfig(
            vocab=values.get("vocab_size", 50_265),
            context=values.get("max_position_embeddings", 1024),
            depth=values.get("encoder_layers", 12),
            decoder_depth=values.get("decoder_layers", 12),
            heads=values.get("encoder_attention_heads", 16),
            decoder_heads=values.get("decoder_attention_heads", 16),
            inner=values.get("encoder_ffn_dim", 4096),
            decoder_inner=values.get("decoder_ffn_dim", 4096),
            width=values.get("d_model", 1024),
            activation=values.get("activation_function", "gelu"),
            dropout=values.get("dropout", 0.1),
            scaled=values.get("scale_embedding", False),
            start=2 if start is None else start,
            padding=values.get("pad_token_id", 1),
            end=end if isinstance(end, int) else 2,
        )

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        return {
            "vocab_size": c.vocab, "max_position_embeddings": c.context, "d_model": c.width,
            "encoder_layers": c.depth, "decoder_layers": c.decoder_depth or c.depth,
            "encoder_attention_heads": c.heads,
            "decoder_attention_heads": c.decoder_heads or c.heads,
            "encoder_ffn_dim": c.inner, "decoder_ffn_dim": c.decoder_inner or c.inner,
            "activation_function": c.activation, "dropout": c.dropout,
            "attention_dropout": c.dropout, "scale_embedding": c.scaled,
            "tie_word_embeddings": True, "decoder_start_token_id": c.start,
            "pad_token_id": c.padding, "eos_token_id": c.end, "is_encoder_decoder": True,
        }  # fmt: skip

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        rows = [Row("embed", "model.shared"), Row("bias", "final_logits_bias")]
        names = {"attention": ("self_attn", "self_attn_layer_norm"),
                 "across": ("encoder_attn", "encoder_attn_layer_norm")}  # fmt: skip
        for side in ("encoder", "decoder"):
            ours, theirs = f"{side}.blocks.{{}}.", f"model.{side}.layers.{{}}."
            rows += [
                Row(f"{side}.place", f"model.{side}.embed_positions"),
                Row(f"{side}.norm", f"model.{side}.layernorm_embedding"),
                Row(f"{ours}feed_forward.up", f"{theirs}fc1"),
                Row(f"{ours}feed_forward.down", f"{theirs}fc2"),
                Row(f"{ours}norm_feed_forward", f"{theirs}final_layer_norm"),
            ]
            for name, (at, norm) in names.items():
                asked = tuple(f"{theirs}{at}.{part}_proj" for part in "qkv")
                rows += [
                    Row(f"{ours}{name}.qkv", asked),
                    Row(f"{ours}{name}.out", f"{theirs}{at}.out_proj"),
                    Row(f"{ours}norm_{name}", f"{theirs}{norm}"),
                ]
        return tuple(rows)
