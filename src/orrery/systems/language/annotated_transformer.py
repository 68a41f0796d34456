"""A small Transformer that translates, for the page that walks through its code line by line.

Source: Rush 2018, "The Annotated Transformer" (workshop NLP-OSS): the paper told along code that
runs. `orrery annotate transformer` makes the page; here is the model whose numbers it shows.
Differs from the paper: the code shown is the house's own file and not a copy in a notebook; the
sentences come from a grammar of a few words, so that a small model learns within seconds to
translate one that it never saw, and its attention has something to find: Spanish puts the
quality after the noun and bends article and quality to the noun's gender.
"""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor

from orrery.catalog import System
from orrery.systems.language.transformer import Transformer, TransformerConfig, noam

SYSTEM = System(
    stem="annotated_transformer", area="language", title="The Annotated Transformer", year=2018,
    papers=("Rush 2018, The Annotated Transformer, NLP-OSS", "arXiv:1706.03762"),
    builds_on=("transformer",), realises=("annotated-transformer",),
)  # fmt: skip

Rows = Int[Tensor, "b _"]

MARKS = ("<padding>", "<start>", "<end>")
PADDING, START, END = range(len(MARKS))
PEOPLE = {"king": "rey m", "queen": "reina f", "boy": "niño m", "girl": "niña f"}
THINGS = {"house": "casa f", "book": "libro m", "flower": "flor f", "tree": "árbol m"}
QUALITIES = {"old": "viejo vieja", "small": "pequeño pequeña", "red": "rojo roja"}
DEEDS = {"saw": "vio", "wanted": "quería", "painted": "pintó"}
SHOWN = ("the old king painted the small house", "el rey viejo pintó la casa pequeña")
"""The pair of the page; the model does not learn from it."""


def sentence_pairs() -> tuple[tuple[str, str], ...]:
    """Every sentence of the grammar in English and in Spanish."""
    return tuple(
        (
            f"the {a} {who} {deed} the {b} {what}",
            f"{_spanish(PEOPLE[who], a)} {DEEDS[deed]} {_spanish(THINGS[what], b)}",
        )
        for a, who, deed, b, what in product(QUALITIES, PEOPLE, DEEDS, QUALITIES, THINGS)
    )


def _spanish(noun: str, quality: str) -> str:
    word, gender = noun.split()
    masculine, feminine = QUALITIES[quality].split()
    return f"el {word} {masculine}" if gender == "m" else f"la {word} {feminine}"


@dataclass(frozen=True, slots=True)
class Walk:
    """A model that has learned the grammar, and the pair it is shown at."""

    model: Transformer
    words: tuple[str, ...]
    """By token."""
    source: Rows
    target: Rows
    """From the mark of the start on, without that of the end."""
    following: Rows
    """`target` one step on."""

    def run(self) -> Rows:
        """All that the model can do, once: scores, loss, a translation; gives that."""
        self.model(self.source, self.target, maps=True)
        self.model.loss(self.source, self.target, self.following)
        noam(1, width=self.model.config.width, warmup=WARMUP)
        return self.model.generate(
            self.source, self.target[:, :1], max_new_tokens=12, eos_token_id=END,
            pad_token_id=PADDING,
        )  # fmt: skip

    def text(self, tokens: Tensor) -> str:
        """Words without the marks."""
        return " ".join(self.words[token] for token in tokens.tolist() if token > END)


WARMUP = 80


def small_config(vocab: int) -> TransformerConfig:
    """Sizes all different, so that a shape tells what it counts."""
    return TransformerConfig(
        vocab=vocab, depth=2, heads=4, width=24, inner=48, dropout=0.0, smoothing=0.1
    )


def walk(*, steps: int = 300, batch: int = 32, seed: int = 0) -> Walk:
    """Let a model learn the grammar, all but the sentence that is shown.

    Args:
        steps: of Adam at the rate of the paper's schedule.
        batch: pairs a step.
        seed: of weights and batches.

    Raises:
        ValueError: there is no step, or no pair a step.
    """
    if steps < 1 or batch < 1:
        raise ValueError(f"steps and batch must be at least 1, got {steps} and {batch}")
    pairs = sentence_pairs()
    words = (*MARKS, *sorted({word for pair in pairs for text in pair for word in text.split()}))
    number = {word: token for token, word in enumerate(words)}
    numbered = torch.tensor([[number[w] for t in pair for w in t.split()] for pair in pairs])
    source, target = numbered.chunk(2, dim=1)  # seven words in either language
    marks = target.new_tensor([START, END]).expand(len(pairs), 2)
    written = torch.cat([marks[:, :1], target], dim=1)
    following = torch.cat([target, marks[:, 1:]], dim=1)
    shown = pairs.index(SHOWN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(small_config(len(words)))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    for step in range(1, steps + 1):
        rows = torch.randint(len(pairs) - 1, (batch,), generator=generator)
        rows += rows >= shown
        loss = model.loss(source[rows], written[rows], following[rows])
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = noam(step, width=model.config.width, warmup=WARMUP)
        optimiser.step()
    one = slice(shown, shown + 1)
    return Walk(model.eval(), words, source[one], written[one], following[one])
