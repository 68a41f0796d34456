"""RoBERTa: BERT trained better, in the published layout.

The net is BERT's with one kind of segment, and places count from behind the padding token's
number. What differs is the training: gaps drawn anew each time a text is read
(`orrery.systems.language.masked_lm`), whole stretches of text and no second task, larger batches,
more steps, more text. `orrery run bert_recipe` puts that to the test.

Source: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach",
arXiv:1907.11692, sections 3 and 4; the published config.json for sizes and epsilon.
Differs from the paper: nothing in the net; its training is as large as the reader's machine.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from orrery.catalog import System
from orrery.nn.activation_names import ACTIVATIONS
from orrery.nn.pretrained import Row
from orrery.systems.language.bert import Bert, BertConfig, BertEncoder, BertHeaded, BertMaskedLm

SYSTEM = System(
    stem="roberta", area="language", title="RoBERTa", year=2019,
    papers=("arXiv:1907.11692",), builds_on=("bert",), realises=("roberta",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RobertaConfig(BertConfig):
    """Sizes; the defaults are RoBERTa base's."""

    vocab: int = 50_265
    context: int = 514
    """Places; `padding` + 1 of them are not used."""
    segments: int = 1
    epsilon: float = 1e-5
    padding: int | None = 1

    def __post_init__(self) -> None:
        super(RobertaConfig, self).__post_init__()  # slots make the class anew: no bare super()
        if self.padding is None or not 0 <= self.padding < min(self.vocab, self.context - 1):
            raise ValueError(
                f"padding must be a token and leave places: in [0, {self.context - 1}), "
                f"got {self.padding}"
            )


def roberta_base() -> RobertaConfig:
    """125 million parameters."""
    return RobertaConfig()


def roberta_large() -> RobertaConfig:
    """355 million parameters."""
    return RobertaConfig(depth=24, heads=16, width=1024, inner=4096)


class RobertaEncoder(BertEncoder):
    """BERT's, with places counted over the tokens that are no padding."""

    def places(self, input_ids: Tokens) -> Tensor:
        """The vector of each place; all padding has the same.

        Raises:
            ValueError: the texts are longer than the context.
        """
        padding = self.config.padding
        assert padding is not None
        most, t = self.config.context - padding - 1, input_ids.shape[1]
        if t > most:
            raise ValueError(f"input_ids must be at most {most} long, got {t}")
        counts = input_ids != padding
        return self.place(counts.cumsum(dim=1) * counts + padding)


class RobertaHeaded(BertHeaded):
    """What both published forms share."""

    kind, prefix = "roberta", "roberta."
    unused = (r".*position_ids", r"roberta\.pooler\..*", r"lm_head\.(bias|decoder\..*)")
    defaults: ClassVar[BertConfig] = RobertaConfig()

    def make_encoder(self, config: BertConfig) -> BertEncoder:
        """The encoder."""
        return RobertaEncoder(config)

    def layout(self) -> tuple[Row, ...]:
        """Where each tensor stands."""
        return (
            Row("transform", "lm_head.dense"),
            Row("norm", "lm_head.layer_norm"),
            Row("decoder", "lm_head.decoder"),
            Row("bias", "lm_head.bias"),
            *super().layout(),
        )


class Roberta(RobertaHeaded, Bert):
    """The encoder, and a vector for the whole text made from its first token's."""

    architecture = "RobertaModel"


class RobertaMaskedLm(RobertaHeaded, BertMaskedLm):
    """Scores of the vocabulary at every token, from what stands on both sides of it."""

    architecture = "RobertaForMaskedLM"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.activation = ACTIVATIONS["gelu"]  # of the head, whatever the layers have
