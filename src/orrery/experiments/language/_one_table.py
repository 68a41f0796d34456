"""A Transformer between two languages whose words lie in one table, as its paper has it."""

from torch import Tensor, nn

from orrery.experiments.language._verses import Verses
from orrery.systems.language.transformer import Transformer, TransformerConfig
from orrery.systems.language.translator import Draft, Rewriting


class OneTable(nn.Module):
    """The Spanish words first, the English behind them; so no two share a row."""

    def __init__(self, verses: Verses, width: int, dropout: float) -> None:
        super().__init__()
        self.first = len(verses.spanish)
        self.model = Transformer(TransformerConfig(
            vocab=self.first + len(verses.english), depth=2, heads=4 if width % 8 == 0 else 1,
            width=width, inner=4 * width, dropout=dropout,
        ))  # fmt: skip
        self.writing = Rewriting(self.scores)

    def scores(self, source: Tensor, target: Tensor) -> Tensor:
        """Of Spanish words alone, after each of the target."""
        return self.model(source + self.first, target).logits[..., : self.first]

    def loss(self, source: Tensor, target: Tensor, after: Tensor) -> Tensor:
        """With smoothed labels, in nats."""
        return self.model.loss(source + self.first, target, after)

    def read(self, source: Tensor) -> Draft:
        """Nothing written yet."""
        return self.writing.read(source)

    def write(self, state: Draft, target: Tensor) -> tuple[Tensor, Draft]:
        """Scores after each of `target`."""
        return self.writing.write(state, target)
