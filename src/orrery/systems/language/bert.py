"""BERT: an encoder that sees the whole text at once, in the published layout.

`Bert` gives a vector for each token, `BertMaskedLm` guesses hidden tokens, `BertClassifier` sorts
texts. Each takes and writes the weights as Hugging Face publishes them.

Source: Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", arXiv:1810.04805, section 3 and appendix A.2; the published config.json for epsilon.
Differs from the paper: the head that tells whether one sentence follows another is left out, as in
the published masked model and classifier.

Symbols: x the stream; the norms stand after each branch (post-norm).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.activation_names import ACTIVATIONS, refuse_unknown
from orrery.nn.attention import padding_bias
from orrery.nn.multi_head import Map
from orrery.nn.outputs import ClassifierOutput, EncoderOutput, LanguageModelOutput
from orrery.nn.post_norm import PostNormBlock
from orrery.nn.pretrained import Pretrained, Row, refuse_unsupported

SYSTEM = System(
    stem="bert", area="language", title="BERT", year=2018,
    papers=("arXiv:1810.04805",), builds_on=(), realises=("bert",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Stream = Float[Tensor, "b t d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BertConfig:
    """Sizes; the defaults are BERT base's."""

    vocab: int = 30_522
    context: int = 512
    """Longest text, in tokens."""
    segments: int = 2
    """Kinds of segment a token may belong to."""
    depth: int = 12
    heads: int = 12
    width: int = 768
    inner: int = 3072
    """Width inside a feed-forward block."""
    activation: str = "gelu"
    epsilon: float = 1e-12
    """Added to the variance in a norm."""
    dropout: float = 0.1
    padding: int | None = 0
    """The token that fills up a batch; its vector is not trained."""
    tied: bool = True
    """One table of embeddings reads tokens in and scores them out."""
    classes: int = 2
    """Of the classifier."""

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "segments", "depth", "heads", "width", "inner", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        refuse_unknown(self.activation)


def bert_base() -> BertConfig:
    """110 million parameters."""
    return BertConfig()


def bert_large() -> BertConfig:
    """335 million parameters."""
    return BertConfig(depth=24, heads=16, width=1024, inner=4096)


SETTINGS = {
    "vocab": "vocab_size", "context": "max_position_embeddings", "segments": "type_vocab_size",
    "depth": "num_hidden_layers", "heads": "num_attention_heads", "width": "hidden_size",
    "inner": "intermediate_size", "activation": "hidden_act", "epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob", "padding": "pad_token_id", "tied": "tie_word_embeddings",
}  # fmt: skip
"""Our sizes and their published names."""


class Embedded(nn.Module):
    """Embeddings of token, place and segment, summed and normalised: where an encoder begins."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, width, padding_idx=config.padding)
        self.place = nn.Embedding(config.context, width)
        self.segment = nn.Embedding(config.segments, width)
        self.norm = nn.LayerNorm(width, eps=config.epsilon)
        self.drop = nn.Dropout(config.dropout)

    def block(self) -> PostNormBlock:
        """A layer of the config's sizes."""
        c = self.config
        return PostNormBlock(
            c.width, c.heads, c.inner, activation=c.activation, epsilon=c.epsilon, dropout=c.dropout
        )

    def initialise(self) -> None:
        """Weights as the papers have them, once all layers are there."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def places(self, input_ids: Tokens) -> Tensor:
        """The vector of each place.

        Raises:
            ValueError: the texts are longer than the context.
        """
        t = input_ids.shape[1]
        if t > self.config.context:
            raise ValueError(
                f"input_ids must be at most context={self.config.context} long, got {t}"
            )
        return self.place.weight[:t]

    def embedded(self, input_ids: Tokens, token_type_ids: Tokens | None) -> Float[Tensor, "b t e"]:
        """The vectors that go into the layers."""
        places = self.places(input_ids)
        kinds = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        return self.drop(self.norm(self.embed(input_ids) + places + self.segment(kinds)))


class BertEncoder(Embedded):
    """Embeddings, then the layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, config.width)
        self.layers = nn.ModuleList(self.block() for _ in range(config.depth))
        self.initialise()

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
        *,
        maps: list[Map] | None = None,
    ) -> Stream:
        """A vector for each token.

        Args:
            input_ids: the texts.
            attention_mask: 1 at the tokens that count, 0 at padding.
            token_type_ids: the segment of each token; 0 if not given.
            maps: the attention weights of every layer are appended to it.

        Raises:
            ValueError: the texts are longer than the context.
        """
        x = self.embedded(input_ids, token_type_ids)
        bias = None if attention_mask is None else padding_bias(attention_mask, x)
        for layer in self.layers:
            x = layer(x, bias, maps=maps)
        return x


class BertHeaded(Pretrained):
    """What the published forms share, RoBERTa's and ALBERT's too."""

    kind, prefix = "bert", "bert."
    unused: ClassVar[tuple[str, ...]] = (
        r".*position_ids", r"bert\.pooler\..*", r"cls\.seq_relationship\..*",
        r"cls\.predictions\.(bias|decoder\..*)",
    )  # fmt: skip
    defaults: ClassVar[BertConfig] = BertConfig()
    """Sizes where config.json is silent."""
    encoder: Embedded

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = self.make_encoder(config)

    def make_encoder(self, config: BertConfig) -> Embedded:
        """The encoder of this kind of model."""
        return BertEncoder(config)

    @classmethod
    def read_config(cls, values: Mapping[str, Any]) -> BertConfig:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """
        refuse_unsupported(values, {
            "model_type": (cls.kind,), "position_embedding_type": ("absolute",),
            "is_decoder": (False,), "add_cross_attention": (False,),
        })  # fmt: skip
        labels, given = values.get("id2label"), {}
        for ours, theirs in SETTINGS.items():
            if theirs in values:
                given[ours] = values[theirs]
        return replace(cls.defaults, **given, classes=len(labels) if labels else 2)

    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""
        c = self.config
        return {
            **{theirs: getattr(c, ours) for ours, theirs in SETTINGS.items()},
            "attention_probs_dropout_prob": c.dropout,
            "id2label": {str(i): f"LABEL_{i}" for i in range(c.classes)},
            "label2id": {f"LABEL_{i}": i for i in range(c.classes)},
        }

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        model = self.prefix
        layer = model + "encoder.layer.{}."
        asked = tuple(layer + f"attention.self.{name}" for name in ("query", "key", "value"))
        return (
            *self.embedding_rows(),
            Row("encoder.layers.{}.attention.qkv", asked),
            Row("encoder.layers.{}.attention.out", layer + "attention.output.dense"),
            Row("encoder.layers.{}.norm_attention", layer + "attention.output.LayerNorm"),
            Row("encoder.layers.{}.feed_forward.up", layer + "intermediate.dense"),
            Row("encoder.layers.{}.feed_forward.down", layer + "output.dense"),
            Row("encoder.layers.{}.norm_feed_forward", layer + "output.LayerNorm"),
            Row("pool", model + "pooler.dense"),
            Row("transform", "cls.predictions.transform.dense"),
            Row("norm", "cls.predictions.transform.LayerNorm"),
            Row("decoder", "cls.predictions.decoder"),
            Row("bias", "cls.predictions.bias"),
            Row("classify", "classifier"),
        )

    def embedding_rows(self) -> tuple[Row, ...]:
        """Where the embeddings stand."""
        at = self.prefix + "embeddings."
        return (
            Row("encoder.embed", at + "word_embeddings"),
            Row("encoder.place", at + "position_embeddings"),
            Row("encoder.segment", at + "token_type_embeddings"),
            Row("encoder.norm", at + "LayerNorm"),
        )


class Bert(BertHeaded):
    """The encoder, and a vector for the whole text made from its first token's."""

    architecture = "BertModel"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.pool = nn.Linear(config.width, config.width)

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
        *,
        maps: bool = False,
    ) -> EncoderOutput:
        """A vector for each token and one for each text; arguments as of `BertEncoder`."""
        kept: list[Map] | None = [] if maps else None
        x = self.encoder(input_ids, attention_mask, token_type_ids, maps=kept)
        pooled = torch.tanh(self.pool(x[:, 0]))
        return EncoderOutput(last_hidden_state=x, pooler_output=pooled, maps=tuple(kept or ()))


class BertMaskedLm(BertHeaded):
    """Scores of the vocabulary at every token, from what stands on both sides of it."""

    architecture = "BertForMaskedLM"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.activation = ACTIVATIONS[config.activation]
        scored = self.encoder.embed.embedding_dim
        self.transform = nn.Linear(config.width, scored)
        self.norm = nn.LayerNorm(scored, eps=config.epsilon)
        own = None if config.tied else nn.Linear(scored, config.vocab)
        self.decoder = own  # with a bias of its own
        self.bias = nn.Parameter(torch.zeros(config.vocab)) if own is None else None

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
        *,
        maps: bool = False,
    ) -> LanguageModelOutput:
        """Scores of what stands at each place; arguments as of `BertEncoder`."""
        kept: list[Map] | None = [] if maps else None
        x = self.encoder(input_ids, attention_mask, token_type_ids, maps=kept)
        return LanguageModelOutput(logits=self.score(x), maps=tuple(kept or ()))

    def score(self, states: Stream) -> Float[Tensor, "b t v"]:
        """Scores of what stands at each place, from the encoder's vectors."""
        x = self.norm(self.activation(self.transform(states)))
        if self.decoder is None:
            return F.linear(x, self.encoder.embed.weight, self.bias)
        return self.decoder(x)

    def loss(self, corrupted: Tokens, targets: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats, of the tokens at which `targets` is not -100."""
        return F.cross_entropy(self(corrupted).logits.flatten(0, 1).float(), targets.flatten())


class BertClassifier(BertHeaded):
    """A score for each class from the pooled first token."""

    architecture = "BertForSequenceClassification"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.pool = nn.Linear(config.width, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.width, config.classes)

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
    ) -> ClassifierOutput:
        """A score for each class; arguments as of `BertEncoder`."""
        x = self.encoder(input_ids, attention_mask, token_type_ids)
        return ClassifierOutput(logits=self.classify(self.drop(torch.tanh(self.pool(x[:, 0])))))
