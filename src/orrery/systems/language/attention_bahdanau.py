"""Additive attention: before each word it writes, the writer looks back at the whole source.

Source: Bahdanau, Cho and Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and
Translate", arXiv:1409.0473, sections 3.1 and 3.2.
Differs from the paper: one linear layer scores the words, in place of a maxout layer; the source's
two directions are GRUs with torch's reset convention; dropout on embeddings and on what is
scored. `attends=False` gives every word of the source the same weight.

Symbols: a_j what the reader says at word j, in both directions; s the writer's state; w_j the
weight of word j; m the context; e(t) the embedding of the word written last.

    score_j = v' tanh(W s + U a_j)       w = softmax(score)       m = sum of w_j a_j
    s' = GRU([e(t), m], s)               p(next) = softmax(out([s', m, e(t)]))

What the writer needs of the source is fetched when it is needed, so no vector has to hold it all.
The rows of a batch have sources of one length.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.language.gru import Gru, GruConfig
from orrery.systems.language.seq2seq import PADDING, Seq2SeqConfig

SYSTEM = System(
    stem="attention_bahdanau", area="language", title="Additive attention (Bahdanau)", year=2014,
    papers=("arXiv:1409.0473",), builds_on=("gru", "seq2seq"), realises=("attention-bahdanau",),
)  # fmt: skip

Source = Int[Tensor, "b s"]
Target = Int[Tensor, "b t"]
Logits = Float[Tensor, "b t v"]
Alignment = Float[Tensor, "b t s"]  # rows sum to 1: where each word written looked


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentiveState:
    """What the reader said, and where the writer stands."""

    said: Float[Tensor, "b s e"]
    keys: Float[Tensor, "b s d"]
    state: Float[Tensor, "1 b d"]

    def select(self, rows: Int[Tensor, " k"]) -> "AttentiveState":
        """The state of other rows: a beam takes some twice and drops others."""
        return AttentiveState(said=self.said[rows], keys=self.keys[rows], state=self.state[:, rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentiveOutput:
    """Scores of the next words, and the alignment that came with them."""

    logits: Logits
    alignment: Alignment
    after: AttentiveState


class AdditiveScore(nn.Module):
    """v' tanh(W s + U a_j) for each word j; U a_j does not change, so it is made once."""

    def __init__(self, query: int, said: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(query, width)
        self.key = nn.Linear(said, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, query: Float[Tensor, "b q"], keys: Float[Tensor, "b s d"]) -> Tensor:
        """The weights of all words, which sum to 1."""
        return self.score((self.query(query)[:, None] + keys).tanh())[..., 0].softmax(dim=-1)


class BahdanauAttention(nn.Module):
    """A reader in both directions, and a writer that looks back."""

    def __init__(self, config: Seq2SeqConfig, *, attends: bool = True) -> None:
        """Reader and writer of the given sizes, both one layer deep.

        Args:
            config: the sizes.
            attends: False makes all weights equal.
        """
        super().__init__()
        width = config.width
        self.config, self.attends = config, attends
        self.embed_source = nn.Embedding(config.source_vocab, width)
        self.embed_target = nn.Embedding(config.target_vocab, width)
        self.reader = Gru(GruConfig(inputs=width, width=width, bidirectional=True))
        self.writer = Gru(GruConfig(inputs=3 * width, width=width))
        self.begin = nn.Linear(width, width)
        self.attention = AdditiveScore(width, 2 * width, width)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(4 * width, config.target_vocab)

    def read(self, source: Source) -> AttentiveState:
        """What is said of each word; the writer starts from the first as read backwards."""
        said = self.reader(self.drop(self.embed_source(source))).outputs
        start = self.begin(said[:, 0, self.config.width :]).tanh()
        return AttentiveState(said=said, keys=self.attention.key(said), state=start[None])

    def step(
        self, memory: AttentiveState, embedded: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b s"], AttentiveState]:
        """After one word: what the next is scored by, where it looked, where it stands."""
        weights = self.attention(memory.state[0], memory.keys)
        if not self.attends:
            weights = torch.full_like(weights, 1 / weights.shape[1])
        context = (weights[:, None] @ memory.said)[:, 0]
        state = self.writer(torch.cat([embedded, context], dim=-1)[:, None], memory.state).state
        features = torch.cat([state[0], context, embedded], dim=-1)
        return features, weights, AttentiveState(said=memory.said, keys=memory.keys, state=state)

    def look(self, memory: AttentiveState, target: Target) -> AttentiveOutput:
        """Scores after each word of `target`, with the alignment."""
        features, alignment = [], []
        for embedded in self.drop(self.embed_target(target)).unbind(1):
            feature, weights, memory = self.step(memory, embedded)
            features.append(feature)
            alignment.append(weights)
        logits = self.out(self.drop(torch.stack(features, dim=1)))
        return AttentiveOutput(logits=logits, alignment=torch.stack(alignment, dim=1), after=memory)

    def write(self, state: AttentiveState, target: Target) -> tuple[Logits, AttentiveState]:
        """Scores of the token after each of `target`, and where the writer stands then."""
        found = self.look(state, target)
        return found.logits, found.after

    def forward(self, source: Source, target: Target) -> AttentiveOutput:
        """Scores and alignment for a target that begins with a mark of its start."""
        return self.look(self.read(source), target)

    def loss(self, source: Source, target: Target, after: Target) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats; `after` is `target` one step on, 0 where nothing counts."""
        logits = self(source, target).logits
        return F.cross_entropy(logits.flatten(0, 1), after.flatten(), ignore_index=PADDING)
