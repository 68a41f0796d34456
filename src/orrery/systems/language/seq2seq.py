"""Sequence to sequence: one LSTM reads a sentence into a vector, another writes it out again.

Source: Sutskever, Vinyals and Le 2014, "Sequence to Sequence Learning with Neural Networks",
arXiv:1409.3215, section 2.
Differs from the paper: small and by default one layer deep; dropout on embeddings and outputs.

Symbols: s the source's tokens, t the target's; h, c the state that goes from reader to writer.

    (h, c) = reader(s_n .. s_1)          backwards, as in the paper: first words meet soonest
    p(t_k | t_1 .. t_(k-1), s) = softmax(out(writer(t_1 .. t_(k-1) from (h, c))))

Whatever is said of the source, however long, has to fit into h and c. The rows of a batch have
sources of one length, so that nothing is padded before it is read.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.lstm import Lstm, LstmState

SYSTEM = System(
    stem="seq2seq", area="language", title="Sequence to sequence (LSTM)", year=2014,
    papers=("arXiv:1409.3215",), builds_on=("lstm",), realises=("seq2seq",),
)  # fmt: skip

Source = Int[Tensor, "b s"]
Target = Int[Tensor, "b t"]
Logits = Float[Tensor, "b t v"]
PADDING = 0  # a target token that is not scored


@dataclass(frozen=True, kw_only=True, slots=True)
class Seq2SeqConfig:
    """Sizes of reader and writer."""

    source_vocab: int = 1000
    target_vocab: int = 1000
    width: int = 128
    depth: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("source_vocab", "target_vocab", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seq2SeqState:
    """All that the writer knows: of the source and of what it has written."""

    h: Float[Tensor, "n b d"]
    c: Float[Tensor, "n b d"]

    def select(self, rows: Int[Tensor, " k"]) -> "Seq2SeqState":
        """The state of other rows: a beam takes some twice and drops others."""
        return Seq2SeqState(h=self.h[:, rows], c=self.c[:, rows])


class Seq2Seq(nn.Module):
    """Reader, writer, and a vector in between."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_source = nn.Embedding(config.source_vocab, config.width)
        self.embed_target = nn.Embedding(config.target_vocab, config.width)
        sizes = RecurrentConfig(inputs=config.width, width=config.width, depth=config.depth)
        self.reader, self.writer = Lstm(sizes), Lstm(sizes)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, config.target_vocab)

    def read(self, source: Source) -> Seq2SeqState:
        """The source as a vector."""
        state = self.reader(self.drop(self.embed_source(source.flip(1)))).state
        return Seq2SeqState(h=state.h, c=state.c)

    def forward(self, source: Source, target: Target) -> Logits:
        """Scores of the token after each of `target`, which begins with a mark of its start."""
        return self.write(self.read(source), target)[0]

    def write(self, state: Seq2SeqState, target: Target) -> tuple[Logits, Seq2SeqState]:
        """Scores of the token after each of `target`, and where the writer stands then."""
        before = LstmState(h=state.h, c=state.c)
        written = self.writer(self.drop(self.embed_target(target)), before)
        after = Seq2SeqState(h=written.state.h, c=written.state.c)
        return self.out(self.drop(written.outputs)), after

    def loss(self, source: Source, target: Target, after: Target) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats; `after` is `target` one step on, 0 where nothing counts."""
        logits = self(source, target)
        return F.cross_entropy(logits.flatten(0, 1), after.flatten(), ignore_index=PADDING)

    @torch.no_grad()
    def greedy(self, source: Source, length: int, start: int) -> Int[Tensor, "b u"]:
        """`length` tokens, each the likeliest after those before it."""
        state, token, written = self.read(source), source.new_full((len(source), 1), start), []
        for _ in range(length):
            logits, state = self.write(state, token)
            token = logits.argmax(dim=-1)
            written.append(token)
        return torch.cat(written, dim=1)
