"""makemore: names like those it was shown, by five models of the next letter, each looking further.

Source: Karpathy 2022, makemore: bigram; MLP (Bengio et al. 2003, "A Neural Probabilistic Language
Model", JMLR 3, section 2, without its direct connections); RNN; GRU; Transformer.
Differs from the paper: its BoW and CNN rungs are left out; all rungs score with a linear layer
from the last hidden state. The names are what a text capitalises and never writes small.

Symbols: token 0 begins and ends a name and fills the rest of its row.

    bigram p(c | last letter), a table      mlp: the last few letters      rnn, gru: a state
    transformer: every letter so far, each weighed by attention
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import regex
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.gru import Gru, GruConfig
from orrery.systems.language.rnn import Rnn

SYSTEM = System(
    stem="makemore", area="language", title="makemore", year=2022,
    papers=("Karpathy 2022, makemore", "Bengio et al. 2003"), builds_on=("gpt", "gru", "rnn"),
    realises=("makemore",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Logits = Float[Tensor, "b t v"]
Rung = Literal["bigram", "mlp", "rnn", "gru", "transformer"]
RUNGS: tuple[Rung, ...] = get_args(Rung)
END = 0
FILLER = -100  # a target that does not count

_WORD = regex.compile(r"\p{L}+")


@dataclass(frozen=True, kw_only=True, slots=True)
class MakemoreConfig:
    """The rung and its sizes."""

    rung: Rung = "transformer"
    vocab: int = 27
    """Letters, and the token that begins and ends a name."""
    longest: int = 15
    """Letters of the longest name."""
    width: int = 32
    window: int = 3
    """Tokens that the MLP sees."""
    depth: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        if self.rung not in RUNGS:
            raise ValueError(f"rung must be one of {', '.join(RUNGS)}; got {self.rung!r}")
        for name in ("longest", "width", "window", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.vocab < 2:
            raise ValueError(f"vocab must be at least 2, got {self.vocab}")


class NextLetter(nn.Module):
    """Scores of the next token at every place: what all rungs have in common."""

    def __init__(self, config: MakemoreConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, tokens: Tokens) -> Logits:
        """Scores of the token after each."""

    def loss(self, tokens: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy a letter, each name's end counted once, in nats."""
        targets = tokens[:, 1:].clone()
        filler = (targets == END) & (tokens[:, :-1] == END)
        filler[:, 0] = False  # an empty name ends at once
        targets[filler] = FILLER
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=FILLER)

    @torch.no_grad()
    def generate(self, count: int, *, generator: torch.Generator) -> Tokens:
        """New names as rows of tokens, each until its end or the greatest length."""
        rows = torch.zeros(count, 1, dtype=torch.long)
        for place in range(self.config.longest):
            chances = self(rows)[:, -1].softmax(dim=-1)
            drawn = torch.multinomial(chances, 1, generator=generator)
            if place:
                drawn[rows[:, -1] == END] = END
            rows = torch.cat([rows, drawn], dim=1)
        return rows


class Bigram(NextLetter):
    """A table: the last letter's row has the scores of the next."""

    def __init__(self, config: MakemoreConfig) -> None:
        super().__init__(config)
        self.table = nn.Embedding(config.vocab, config.vocab)

    def forward(self, tokens: Tokens) -> Logits:
        """The rows themselves."""
        return self.table(tokens)


class Mlp(NextLetter):
    """The embeddings of the last few letters, side by side, through one hidden layer."""

    def __init__(self, config: MakemoreConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab, config.width)
        self.layer = nn.Linear(config.window * config.width, config.width)
        self.score = nn.Linear(config.width, config.vocab)

    def forward(self, tokens: Tokens) -> Logits:
        """From the last `window` letters; before the first there are zeros."""
        window = self.config.window
        padded = F.pad(self.embed(tokens), (0, 0, window - 1, 0))
        past = padded.unfold(1, window, 1)  # [b, t, d, window]
        return self.score(torch.tanh(self.layer(past.flatten(2))))


class RecurrentLetters(NextLetter):
    """A state that is carried along."""

    def __init__(self, config: MakemoreConfig) -> None:
        super().__init__(config)
        width = config.width
        self.embed = nn.Embedding(config.vocab, width)
        self.cell: Gru | Rnn
        if config.rung == "gru":
            self.cell = Gru(GruConfig(inputs=width, width=width))
        else:
            self.cell = Rnn(RecurrentConfig(inputs=width, width=width))
        self.score = nn.Linear(width, config.vocab)

    def forward(self, tokens: Tokens) -> Logits:
        """From the state after each letter."""
        return self.score(self.cell(self.embed(tokens)).outputs)


class TransformerLetters(NextLetter):
    """A GPT."""

    def __init__(self, config: MakemoreConfig) -> None:
        super().__init__(config)
        self.gpt = Gpt(GptConfig(
            vocab=config.vocab, context=config.longest + 1, depth=config.depth,
            heads=config.heads, width=config.width,
        ))  # fmt: skip

    def forward(self, tokens: Tokens) -> Logits:
        """From every letter so far."""
        return self.gpt(tokens).logits


def next_letter(config: MakemoreConfig) -> NextLetter:
    """The model of a rung."""
    match config.rung:
        case "bigram":
            return Bigram(config)
        case "mlp":
            return Mlp(config)
        case "rnn" | "gru":
            return RecurrentLetters(config)
        case "transformer":
            return TransformerLetters(config)


def names_of(text: str, *, at_least: int = 1) -> list[str]:
    """Words of a text that are capitalised and never written small, in lower case and in order.

    Args:
        text: of some length: in a short one, the first word of a sentence may pass for a name.
        at_least: how often a name must occur.
    """
    counts = Counter(_WORD.findall(text))
    return sorted(
        word.lower()
        for word, count in counts.items()
        if count >= at_least and len(word) > 1 and word.istitle() and not counts[word.lower()]
    )


def rows_of(names: Sequence[str], letters: str, longest: int) -> Tokens:
    """Names as rows of tokens: 0, the letters, 0, and zeros to the end.

    Raises:
        ValueError: a name is longer, or has a letter that is not among `letters`.
    """
    rows = torch.zeros(len(names), longest + 2, dtype=torch.long)
    for row, name in zip(rows, names, strict=True):
        if len(name) > longest or not set(name) <= set(letters):
            raise ValueError(f"names must have at most {longest} of the letters: {name!r}")
        row[1 : len(name) + 1] = torch.tensor([letters.index(c) + 1 for c in name])
    return rows


def text_of(rows: Tokens, letters: str) -> list[str]:
    """The names of rows."""
    return ["".join(letters[i - 1] for i in row if i != END) for row in rows.tolist()]
