"""The arms that learn in steps: encoders, the pieces that their texts use, and the training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from orrery.data import minilm
from orrery.experiments.language._reviews import Part, ReviewParts
from orrery.lab import Lab, Measured
from orrery.systems.language.bert import Bert, BertConfig
from orrery.systems.language.sentence_embedding import SentenceEncoder, SentenceReader
from orrery.systems.language.text_classification import TextClassifier, confusion
from orrery.systems.language.wordpiece import SPECIALS, WordPiece, WordPieceConfig, train
from orrery.train.schedule import scale_rates, trapezoid

GROUP = 4  # batches drawn together and cut by length: little of a batch is padding
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of the table: what a text is, what it is taken for


@contextmanager
def in_bfloat16(on: bool, device: torch.device) -> Iterator[None]:
    """Matrix products in bfloat16."""
    with torch.autocast(device.type, torch.bfloat16, enabled=on):
        yield


def published() -> SentenceEncoder:
    """MiniLM."""
    return SentenceEncoder.from_pretrained(minilm.folder())


def stand_in(texts: Sequence[str]) -> SentenceEncoder:
    """A small encoder that has learnt nothing but its pieces, for runs of a few seconds."""
    vocabulary = train(texts, WordPieceConfig(vocab=200))
    config = BertConfig(
        vocab=len(vocabulary.pieces), context=512, depth=2, heads=2, width=16, inner=32
    )
    return SentenceEncoder(Bert(config).eval(), SentenceReader(WordPiece(vocabulary)))


def with_random_weights(encoder: SentenceEncoder) -> SentenceEncoder:
    """The same sizes, nothing learnt."""
    model = Bert(encoder.model.config).to(encoder.model.pool.weight.device)
    return SentenceEncoder(model.eval(), encoder.reader)


class UsedPieces:
    """The pieces that some texts use: a table of the others would be learnt and kept for nothing.

    What the encoder makes of these texts is the same.
    """

    def __init__(self, reader: SentenceReader, texts: Sequence[str]) -> None:
        self.reader, self.rows = reader, {text: reader.numbers(text) for text in texts}
        specials = {reader.tokenizer.vocabulary.pieces[piece] for piece in SPECIALS}
        self.used = torch.tensor(sorted(specials.union(*self.rows.values())))

    def __len__(self) -> int:
        return len(self.used)

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The texts as places among the used pieces, and what counts of them."""
        ids, seen = self.reader.batch([self.rows[text] for text in texts])
        return torch.searchsorted(self.used, ids), seen

    def cut(self, model: Bert) -> Bert:
        """A copy of the model with the used pieces alone."""
        weights = dict(model.state_dict())
        weights["encoder.embed.weight"] = weights["encoder.embed.weight"].cpu()[self.used]
        small = Bert(replace(model.config, vocab=len(self.used)))
        small.load_state_dict(weights)
        return small

    @torch.no_grad()
    def classes(self, model: TextClassifier, texts: Sequence[str], *, batch: int = 64) -> Tensor:
        """The class of each text."""
        model.eval()
        found, device = torch.zeros(len(texts), dtype=torch.long), model.classify.weight.device
        order = np.argsort([len(self.rows[text]) for text in texts], kind="stable")
        for first in range(0, len(texts), batch):
            places = order[first : first + batch]
            ids, seen = self.read([texts[i] for i in places])
            found[places] = model(ids.to(device), seen.to(device)).logits.argmax(dim=1).cpu()
        return found

    def batch(self, part: Part, size: int, random: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Texts of like length, each text as likely as any other: tokens, labels, what counts."""
        drawn = random.integers(len(part.texts), size=GROUP * size)
        lengths = [len(self.rows[part.texts[i]]) for i in drawn]
        places = drawn[np.argsort(lengths, kind="stable")].reshape(GROUP, size)
        chosen = places[random.integers(GROUP)]
        ids, seen = self.read([part.texts[i] for i in chosen])
        return ids, torch.from_numpy(part.labels[chosen]), seen


@dataclass(frozen=True)
class Arm:
    """An arm: a classifier and what it learns from."""

    pieces: UsedPieces
    films: ReviewParts
    model: TextClassifier
    name: str


def learn(learner: Arm, lab: Lab, *, steps: int, batch: int, bfloat16: bool) -> Measured:
    """Train an arm and test it."""
    model, pieces, part = learner.model, learner.pieces, learner.films.train
    optimiser, loss = torch.optim.AdamW(model.rates(), weight_decay=0.01), torch.zeros(())
    model.train()
    for step in range(steps):
        drawn = pieces.batch(part, batch, lab.numpy_rng("batch", step))
        ids, labels, seen = (tensor.to(lab.device) for tensor in drawn)
        with in_bfloat16(bfloat16, lab.device):
            loss = model.loss(ids, labels, seen)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        scale_rates(optimiser, trapezoid(step, steps, warmup=steps // 10, cooldown=0.9))
        optimiser.step()
    test = learner.films.test
    with in_bfloat16(bfloat16, lab.device):
        said = pieces.classes(model, test.texts)
    table = confusion(said, torch.from_numpy(test.labels), 2)
    counts = {f"confusion/{learner.name}/{i}/{j}": float(table[i, j]) for i, j in CELLS}
    accuracy = float(table.trace() / table.sum())
    return {learner.name: accuracy, f"loss/{learner.name}": loss.item()} | counts
