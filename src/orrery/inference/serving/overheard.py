"""The scores that a batch chose from, for those who ask how likely other tokens were."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from orrery.inference.batching import BatchModel
from orrery.inference.decoding import one_thread


class Overheard:
    """A model, and the scores that it gave since they were last taken."""

    def __init__(self, model: BatchModel) -> None:
        """Listen to a model."""
        self.model, self._rows = model, list[Tensor]()

    def new_cache(self) -> Any:
        """Of a text that begins."""
        return self.model.new_cache()

    def __call__(self, tokens: Tensor, cache: Any) -> Tensor:
        """Scores of the token after these."""
        scores = self.model(tokens, cache)
        self._rows += [scores[0]]
        return scores

    def write(self, tokens: Tensor, caches: Sequence[Any]) -> Tensor:
        """Scores of each text's next token."""
        scores = self.model.write(tokens, caches)
        self._rows += list(scores)
        return scores

    def take(self) -> list[Tensor]:
        """The rows in the order in which a step of the batch chooses from them."""
        rows, self._rows = self._rows, []
        return rows


def likeliest(scores: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest tokens with their log-probabilities, the likeliest first."""
    if not count:
        return ()
    with one_thread():
        best = scores.float().log_softmax(dim=-1).topk(min(count, len(scores)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
