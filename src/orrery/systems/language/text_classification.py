"""Text classification: a pre-trained encoder, a linear layer on the mean of its vectors, few steps.

Source: Devlin et al. 2018, arXiv:1810.04805, section 4.1 (one layer on top, all weights learn);
Reimers and Gurevych 2019, arXiv:1908.10084, section 3 (the mean of the tokens' vectors);
Howard and Ruder 2018, arXiv:1801.06146, section 3.2 (a lower layer learns more slowly).
Differs from the papers: the mean in place of the first token's vector; a lower layer's rate is
`decay` times that of the one above, where the third paper divides by 2.6; a new layer learns at a
rate of its own.

Symbols: u the mean of the vectors of the tokens that count; p = softmax(W drop(u) + b);
rate(l) = rate decay^(L - l) for layer l of L, the embeddings being layer 0.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.outputs import ClassifierOutput
from orrery.systems.language.bert import Bert
from orrery.systems.language.sentence_embedding import mean_of_seen

SYSTEM = System(
    stem="text_classification", area="language", title="Text classification by fine-tuning",
    year=2018, papers=("arXiv:1810.04805", "arXiv:1908.10084", "arXiv:1801.06146"),
    builds_on=("bert", "sentence_embedding"), realises=("text-classification",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Seen = Int[Tensor, "b t"]  # 1 at the tokens that count, 0 at padding behind them
Labels = Int[Tensor, " b"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextClassificationConfig:
    """What comes on top of an encoder, and how fast each part of both learns."""

    classes: int = 2
    dropout: float = 0.1
    """Of the mean; the encoder has its own."""
    rate: float = 5e-5
    """Of the encoder's last layer."""
    decay: float = 0.9
    """Rate of a layer over that of the one above it; 1: all the same."""
    new_rate: float = 1e-3
    """Of the layer on top, which knows nothing yet."""
    frozen: bool = False
    """The encoder stays as it is: what learns is a linear probe."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be in (0, 1], got {self.decay}")
        for name in ("rate", "new_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


class TextClassifier(nn.Module):
    """An encoder and a class of each text."""

    def __init__(self, model: Bert, config: TextClassificationConfig) -> None:
        super().__init__()
        self.config, self.encoder = config, model.encoder
        self.encoder.requires_grad_(not config.frozen)
        self.drop = nn.Dropout(config.dropout)
        self.classify = nn.Linear(model.config.width, config.classes)
        nn.init.normal_(self.classify.weight, std=0.02)
        nn.init.zeros_(self.classify.bias)

    def train(self, mode: bool = True) -> "TextClassifier":
        """As of any module, but a frozen encoder never drops anything."""
        super().train(mode)
        self.encoder.train(mode and not self.config.frozen)
        return self

    def forward(self, input_ids: Tokens, attention_mask: Seen | None = None) -> ClassifierOutput:
        """A score for each class."""
        u = mean_of_seen(self.encoder(input_ids, attention_mask), attention_mask)
        return ClassifierOutput(logits=self.classify(self.drop(u)))

    def loss(
        self, input_ids: Tokens, labels: Labels, attention_mask: Seen | None = None
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the classes, in nats."""
        return F.cross_entropy(self(input_ids, attention_mask).logits.float(), labels)

    def rates(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser, the new layer's first, then from the top down."""
        c = self.config
        groups = [{"params": [*self.classify.parameters()], "lr": c.new_rate}]
        if c.frozen:
            return groups
        layers: dict[int, list[nn.Parameter]] = {}
        for name, weight in self.encoder.named_parameters():  # layers.3.norm.weight, embed.weight
            layer = int(name.split(".")[1]) + 1 if name.startswith("layers.") else 0
            layers.setdefault(layer, []).append(weight)
        for down, layer in enumerate(sorted(layers, reverse=True)):
            groups.append({"params": layers[layer], "lr": c.rate * c.decay**down})
        return groups


@torch.no_grad()
def confusion(predicted: Labels, labels: Labels, classes: int) -> Int[Tensor, "classes classes"]:
    """How often a text of each class (row) was taken for each class (column).

    Raises:
        ValueError: a class is not in [0, classes).
    """
    both = torch.cat([predicted, labels])
    if len(both) and not 0 <= int(both.min()) <= int(both.max()) < classes:
        raise ValueError(f"classes must be in [0, {classes}), got {both.min()} to {both.max()}")
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.view(classes, classes)
