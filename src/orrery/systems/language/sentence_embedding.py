"""Sentence embeddings: a text becomes the mean of its tokens' vectors, made one long.

Two texts are compared by the product of their embeddings, the cosine of the angle between them.

Source: Reimers and Gurevych 2019, "Sentence-BERT", arXiv:1908.10084, section 3 (mean pooling);
Henderson et al. 2017, arXiv:1705.00652 (the loss: a batch's other answers count as wrong).
Differs from the papers: there is no classifier over pairs; embeddings have length 1, as those of
the published MiniLM have, so that the loss needs a scale (20, as sentence-transformers has it).

Symbols: m_t is 1 at the tokens that count; u = sum_t m_t x_t / sum_t m_t; e = u / |u|.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.files import read_json
from orrery.systems.language.bert import Bert
from orrery.systems.language.tokenizer_json import read_tokenizer
from orrery.systems.language.wordpiece import WordPiece, WordPieceVocabulary

SYSTEM = System(
    stem="sentence_embedding", area="language", title="Sentence embeddings", year=2019,
    papers=("arXiv:1908.10084", "arXiv:1705.00652"),
    builds_on=("bert", "tokenizer_json", "wordpiece"), realises=(),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Seen = Int[Tensor, "b t"]  # 1 at the tokens that count, 0 at padding behind them
Embeddings = Float[Tensor, "n d"]


class SentenceReader:
    """Texts as BERT reads them: [CLS] pieces [SEP], cut to a length, padded to the longest."""

    def __init__(self, tokenizer: WordPiece, longest: int = 256) -> None:
        """Take a tokeniser.

        Args:
            tokenizer: with [PAD], [CLS] and [SEP] among its pieces.
            longest: of a text, in tokens, both ends included; what comes after is not read.

        Raises:
            ValueError: longest is below 2, or a piece is missing.
        """
        pieces = tokenizer.vocabulary.pieces
        missing = [name for name in ("[PAD]", "[CLS]", "[SEP]") if name not in pieces]
        if missing:
            raise ValueError(f"the tokeniser must have {missing[0]}")
        if longest < 2:
            raise ValueError(f"longest must be at least 2, got {longest}")
        self.tokenizer, self.longest = tokenizer, longest
        self.padding, self.start, self.end = (pieces[n] for n in ("[PAD]", "[CLS]", "[SEP]"))

    def numbers(self, text: str) -> list[int]:
        """The tokens of a text."""
        pieces = self.tokenizer.encode(text)[: self.longest - 2]
        return [self.start, *pieces, self.end]

    def batch(self, rows: Sequence[Sequence[int]]) -> tuple[Tokens, Seen]:
        """The tokens of several texts, and which of them count."""
        width = max(map(len, rows), default=0)
        ids = torch.full((len(rows), width), self.padding)
        seen = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            seen[i, : len(row)] = 1
        return ids, seen


def mean_of_seen(
    x: Float[Tensor, "b t d"], attention_mask: Seen | None = None
) -> Float[Tensor, "b d"]:
    """u: the mean over the tokens that count."""
    if attention_mask is None:
        return x.mean(dim=1)
    weights = attention_mask.to(x.dtype)[:, :, None]
    return (x * weights).sum(dim=1) / weights.sum(dim=1)


class SentenceEncoder(nn.Module):
    """Texts to embeddings; all learning is in the BERT inside."""

    def __init__(self, model: Bert, reader: SentenceReader) -> None:
        """Join a model and the reader that its texts are read with.

        Raises:
            ValueError: the reader's texts may be longer than the model's context.
        """
        super().__init__()
        if reader.longest > model.config.context:
            raise ValueError(
                f"longest must be at most context={model.config.context}, got {reader.longest}"
            )
        self.model, self.reader = model, reader

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "SentenceEncoder":
        """The encoder in a folder with config.json, model.safetensors and tokenizer.json.

        The length of texts is read from sentence_bert_config.json where there is one.

        Raises:
            OrreryError: a file is missing, damaged or of a kind that is not read here.
        """
        folder = Path(folder)
        model, lengths = Bert.from_pretrained(folder), folder / "sentence_bert_config.json"
        vocabulary = read_tokenizer(folder / "tokenizer.json")
        if not isinstance(vocabulary, WordPieceVocabulary):
            raise OrreryError(f"{folder / 'tokenizer.json'} is refused: it is not WordPiece")
        told = read_json(lengths) if lengths.exists() else {}
        longest = told.get("max_seq_length") if isinstance(told, dict) else None
        try:
            reader = SentenceReader(WordPiece(vocabulary), longest or model.config.context)
            return cls(model, reader)
        except (ValueError, TypeError) as error:
            raise OrreryError(f"{folder} is refused: {error}") from error

    def forward(self, input_ids: Tokens, attention_mask: Seen | None = None) -> Embeddings:
        """An embedding, e, for each text."""
        x = self.model.encoder(input_ids, attention_mask)
        return F.normalize(mean_of_seen(x, attention_mask), dim=1)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, batch: int = 32) -> Embeddings:
        """The embeddings of texts, in their order; texts of like length are read together.

        Raises:
            ValueError: batch is below 1.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        table = self.model.encoder.embed.weight
        found = table.new_zeros((len(texts), self.model.config.width))
        rows = [self.reader.numbers(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for first in range(0, len(order), batch):
            places = order[first : first + batch]
            ids, seen = self.reader.batch([rows[i] for i in places])
            found[places] = self(ids.to(table.device), seen.to(table.device))
        return found


def in_batch_loss(asked: Embeddings, answers: Embeddings, scale: float = 20.0) -> Float[Tensor, ""]:
    """Cross-entropy, in nats, of each text's own answer among all answers of the batch."""
    own = torch.arange(len(asked), device=asked.device)
    return F.cross_entropy(scale * asked @ answers.T, own)
