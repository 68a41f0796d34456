"""ALBERT: BERT with one layer used again and again, and a narrow table of embeddings.

Twelve layers that are one have a twelfth of the weights and cost as much to run. A table of
vocabulary x e numbers, turned to the width d by a map e x d, is smaller than one of
vocabulary x d.

Source: Lan et al. 2019, "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", arXiv:1909.11942, section 3.1; the published config.json for epsilon, groups and
activation.
Differs from the paper: the second task, the order of two sentences, is left out, as in the
published masked model; with dropout, what a feed-forward block adds is dropped out too, which the
published code leaves out (its dropout is 0).

Symbols: e the width of embeddings, d that of the stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import padding_bias
from orrery.nn.multi_head import Map
from orrery.nn.pretrained import Row
from orrery.systems.language.bert import Bert, BertConfig, BertHeaded, BertMaskedLm, Embedded

SYSTEM = System(
    stem="albert", area="language", title="ALBERT", year=2019,
    papers=("arXiv:1909.11942",), builds_on=("bert",), realises=("albert",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlbertConfig(BertConfig):
    """Sizes; the defaults are ALBERT base's."""

    vocab: int = 30_000
    embedding: int = 128
    """e."""
    groups: int = 1
    """Stretches of the depth that have weights of their own."""
    inner_layers: int = 1
    """Layers of a group, all gone through at each of the `depth` steps."""
    activation: str = "gelu_new"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super(AlbertConfig, self).__post_init__()  # slots make the class anew: no bare super()
        for name in ("embedding", "groups", "inner_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.groups > self.depth:
            raise ValueError(f"groups must be at most depth={self.depth}, got {self.groups}")


OWN = {
    "embedding": "embedding_size", "groups": "num_hidden_groups", "inner_layers": "inner_group_num",
}  # fmt: skip
"""Sizes that BERT has not, and their published names."""


def albert_base() -> AlbertConfig:
    """12 million parameters."""
    return AlbertConfig()


def albert_xxlarge() -> AlbertConfig:
    """223 million parameters, at the width of 4,096."""
    return AlbertConfig(width=4096, heads=64, inner=16_384)


class AlbertEncoder(Embedded):
    """Narrow embeddings, a map to the stream, and the same layers over and over."""

    config: AlbertConfig

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config, config.embedding)
        self.widen = nn.Linear(config.embedding, config.width)
        self.groups = nn.ModuleList(
            nn.ModuleList(self.block() for _ in range(config.inner_layers))
            for _ in range(config.groups)
        )
        self.initialise()

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
        *,
        maps: list[Map] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """A vector for each token; arguments as of `BertEncoder`."""
        x = self.widen(self.embedded(input_ids, token_type_ids))
        bias = None if attention_mask is None else padding_bias(attention_mask, x)
        groups = [list(group.children()) for group in self.groups]
        for i in range(self.config.depth):
            for layer in groups[group_of(i, self.config)]:
                x = layer(x, bias, maps=maps)
        return x


def group_of(step: int, config: AlbertConfig) -> int:
    """Whose weights are used at a step of the depth."""
    return int(step / (config.depth / config.groups))


class AlbertHeaded(BertHeaded):
    """What both published forms share."""

    kind, prefix = "albert", "albert."
    unused = (r".*position_ids", r"albert\.pooler\..*", r"predictions\.(bias|decoder\..*)",
              r"sop_classifier\..*")  # fmt: skip
    defaults: ClassVar[BertConfig] = AlbertConfig(
        width=4096,
        heads=64,
        inner=16_384,  # what config.json means by silence
    )

    def make_encoder(self, config: BertConfig) -> Embedded:
        """The encoder."""
        assert isinstance(config, AlbertConfig)
        return AlbertEncoder(config)

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> BertConfig:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        given = {ours: values[theirs] for ours, theirs in OWN.items() if theirs in values}
        return replace(super().read_config(values), **given)

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        own = {theirs: getattr(self.config, ours) for ours, theirs in OWN.items()}
        return super().write_config() | own

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        ours = "encoder.groups.{}.{}."
        theirs = "albert.encoder.albert_layer_groups.{}.albert_layers.{}."
        asked = tuple(theirs + f"attention.{name}" for name in ("query", "key", "value"))
        return (
            *self.embedding_rows(),
            Row("encoder.widen", "albert.encoder.embedding_hidden_mapping_in"),
            Row(ours + "attention.qkv", asked),
            Row(ours + "attention.out", theirs + "attention.dense"),
            Row(ours + "norm_attention", theirs + "attention.LayerNorm"),
            Row(ours + "feed_forward.up", theirs + "ffn"),
            Row(ours + "feed_forward.down", theirs + "ffn_output"),
            Row(ours + "norm_feed_forward", theirs + "full_layer_layer_norm"),
            Row("pool", "albert.pooler"),
            Row("transform", "predictions.dense"),
            Row("norm", "predictions.LayerNorm"),
            Row("decoder", "predictions.decoder"),
            Row("bias", "predictions.bias"),
        )


class Albert(AlbertHeaded, Bert):
    """The encoder, and a vector for the whole text made from its first token's."""

    architecture = "AlbertModel"


class AlbertMaskedLm(AlbertHeaded, BertMaskedLm):
    """Scores of the vocabulary at every token, from what stands on both sides of it."""

    architecture = "AlbertForMaskedLM"
