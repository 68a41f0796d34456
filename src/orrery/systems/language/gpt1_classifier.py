"""Fine-tuning GPT: a linear layer on the state of a text's last token, and its old task beside.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section
3.2, equations 3 to 5; section 4.1 for lambda and the dropout.
Differs from the paper: the means are over tokens and texts, not sums; padding behind a text is
left out of both; the tokens that start, part and end texts are the caller's.

Symbols: L1 the loss of the next token, L2 that of the class, L3 = L2 + lambda L1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.outputs import ClassifierOutput
from orrery.systems.language.gpt1 import Gpt1

SYSTEM = System(
    stem="gpt1_classifier", area="language", title="Fine-tuning GPT", year=2018,
    papers=("Radford et al. 2018",), builds_on=("gpt1",), realises=(),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Seen = Int[Tensor, "b t"]  # 1 at the tokens that count, 0 at padding behind them


class Gpt1Classifier(nn.Module):
    """A language model, and a class of each text."""

    def __init__(self, model: Gpt1, classes: int, *, auxiliary: float = 0.5) -> None:
        """Put a layer on top of a model.

        Args:
            model: pre-trained, or not.
            classes: how many there are.
            auxiliary: lambda, at least 0.

        Raises:
            ValueError: classes is below 1 or auxiliary below 0.
        """
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        if auxiliary < 0:
            raise ValueError(f"auxiliary must be at least 0, got {auxiliary}")
        self.model, self.auxiliary = model, auxiliary
        self.drop = nn.Dropout(model.config.dropout)
        self.classify = nn.Linear(model.config.width, classes, bias=False)
        nn.init.normal_(self.classify.weight, std=0.02)

    def forward(self, input_ids: Tokens, attention_mask: Seen | None = None) -> ClassifierOutput:
        """Scores of the classes (equation 3)."""
        return ClassifierOutput(logits=self._both(input_ids, attention_mask)[0])

    def loss(
        self, input_ids: Tokens, labels: Int[Tensor, " b"], attention_mask: Seen | None = None
    ) -> Float[Tensor, ""]:
        """L3 = L2 + lambda L1 (equation 5), in nats."""
        logits, states = self._both(input_ids, attention_mask)
        loss = F.cross_entropy(logits, labels)
        if self.auxiliary == 0:
            return loss
        targets = input_ids[:, 1:]
        if attention_mask is not None:
            targets = targets.masked_fill(attention_mask[:, 1:] == 0, -100)  # torch's "no target"
        scores = self.model.score(states[:, :-1])
        return loss + self.auxiliary * F.cross_entropy(scores.flatten(0, 1), targets.flatten())

    def _both(self, input_ids: Tokens, attention_mask: Seen | None) -> tuple[Tensor, Any]:
        states = self.model.states(input_ids, attention_mask)
        if attention_mask is None:
            last = states[:, -1]
        else:
            rows = torch.arange(len(states), device=states.device)
            last = states[rows, attention_mask.sum(dim=1) - 1]
        return self.classify(self.drop(last)), states
