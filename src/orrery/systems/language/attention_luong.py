"""Luong's attention: three ways to score a word of the source, after the writer's step.

Source: Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural Machine
Translation", arXiv:1508.04025, section 3.1 (global attention).
Differs from the paper: no feeding of the last context into the writer, so that all words of a
target are scored at once; small and by default one layer deep.

Symbols: a_j what the reader says at word j, h the writer's output at a step, m the context.

    score_j = h' a_j                      dot
    score_j = h' W a_j                    general
    score_j = v' tanh(W [h, a_j])         concat: Bahdanau's, but for when it is made
    m = sum of softmax(score)_j a_j       p(next) = softmax(out(tanh(W_c [m, h])))
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.lstm import Lstm, LstmState
from orrery.systems.language.seq2seq import PADDING, Seq2SeqConfig, Seq2SeqState

SYSTEM = System(
    stem="attention_luong", area="language", title="Multiplicative attention (Luong)", year=2015,
    papers=("arXiv:1508.04025",), builds_on=("lstm", "seq2seq"), realises=(),
)  # fmt: skip

Source = Int[Tensor, "b s"]
Target = Int[Tensor, "b t"]
Logits = Float[Tensor, "b t v"]
Outputs = Float[Tensor, "b t d"]
Said = Float[Tensor, "b s d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LuongState:
    """What the reader said, and where the writer stands."""

    said: Said
    writer: Seq2SeqState

    def select(self, rows: Int[Tensor, " k"]) -> "LuongState":
        """The state of other rows: a beam takes some twice and drops others."""
        return LuongState(said=self.said[rows], writer=self.writer.select(rows))


class LuongScore(nn.Module):
    """How well each word of the source answers to each output of the writer."""

    def __init__(self, width: int, score: Literal["dot", "general", "concat"]) -> None:
        super().__init__()
        self.score = score
        if score == "general":
            self.matrix = nn.Linear(width, width, bias=False)
        if score == "concat":
            self.mix = nn.Linear(2 * width, width, bias=False)
            self.vector = nn.Linear(width, 1, bias=False)

    def forward(self, outputs: Outputs, said: Said) -> Float[Tensor, "b t s"]:
        """The scores, before they are made weights."""
        if self.score == "concat":
            h, a = outputs[:, :, None], said[:, None]
            pairs = torch.cat(torch.broadcast_tensors(h, a), dim=-1)  # [b, t, s, 2 d]
            return self.vector(self.mix(pairs).tanh())[..., 0]
        return outputs @ (self.matrix(said) if self.score == "general" else said).mT


class LuongAttention(nn.Module):
    """LSTM reader, LSTM writer, and a look back after every step."""

    def __init__(
        self, config: Seq2SeqConfig, score: Literal["dot", "general", "concat"] = "general"
    ) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.embed_source = nn.Embedding(config.source_vocab, width)
        self.embed_target = nn.Embedding(config.target_vocab, width)
        sizes = RecurrentConfig(inputs=width, width=width, depth=config.depth)
        self.reader, self.writer = Lstm(sizes), Lstm(sizes)
        self.score = LuongScore(width, score)
        self.combine = nn.Linear(2 * width, width, bias=False)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(width, config.target_vocab)

    def read(self, source: Source) -> LuongState:
        """What is said of every word; the writer begins where the reader ends."""
        found = self.reader(self.drop(self.embed_source(source)))
        return LuongState(said=found.outputs, writer=Seq2SeqState(h=found.state.h, c=found.state.c))

    def write(self, state: LuongState, target: Target) -> tuple[Logits, LuongState]:
        """Scores of the token after each of `target`, and where the writer stands then."""
        before = LstmState(h=state.writer.h, c=state.writer.c)
        found = self.writer(self.drop(self.embed_target(target)), before)
        weights = self.score(found.outputs, state.said).softmax(dim=-1)
        mixed = self.combine(torch.cat([weights @ state.said, found.outputs], dim=-1)).tanh()
        after = Seq2SeqState(h=found.state.h, c=found.state.c)
        return self.out(self.drop(mixed)), LuongState(said=state.said, writer=after)

    def forward(self, source: Source, target: Target) -> Logits:
        """Scores of the token after each of `target`, which begins with a mark of its start."""
        return self.write(self.read(source), target)[0]

    def loss(self, source: Source, target: Target, after: Target) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats; `after` is `target` one step on, 0 where nothing counts."""
        logits = self(source, target)
        return F.cross_entropy(logits.flatten(0, 1), after.flatten(), ignore_index=PADDING)
