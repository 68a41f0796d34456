"""An n-gram language model with modified Kneser-Ney smoothing: counts, and no training at all.

Source: Shannon 1948, "A Mathematical Theory of Communication", section 3, for the model;
Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling",
Harvard TR-10-98, section 3, for the smoothing.
Differs from the paper: the shortest history falls back on equal chances for all tokens, and a
discount is at least a tenth, so that nothing is impossible; where no gram is seen once, twice or
three times, Kneser and Ney's single discount stands for the three.

Symbols: u the history of a token w, u' the history without its oldest token; N the counts:
how often u w was seen, and, for all but the longest grams, after how many different tokens.

    p(w | u) = max(N(u w) - D, 0) / N(u .) + backoff(u) p(w | u')

The discount D depends on N(u w) = 1, 2 or more, and backoff(u) is what the discounts set free.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="ngram", area="language", title="n-gram language model (Kneser-Ney)", year=1948,
    papers=("Shannon 1948", "Chen and Goodman 1998"), builds_on=(), realises=("ngram-lm",),
)  # fmt: skip

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Tokens = Int[Tensor, "b t"]
UNSEEN = -1
LEAST_DISCOUNT = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class NgramConfig:
    """How far back the model looks, and over which tokens."""

    vocab: int = 96
    order: int = 6
    """Longest gram, in tokens: a history of order - 1 and the token it predicts."""

    def __post_init__(self) -> None:
        if self.vocab < 1 or self.order < 1:
            raise ValueError(f"vocab and order must be at least 1: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """Everything known of grams of one length.

    A gram is numbered by its place in `codes`; a code is (number of the history) * vocab + token,
    so numbers stay small however long the gram is.
    """

    codes: Ids
    gain: Floats  # of each gram: max(N(u w) - D, 0) / N(u .)
    backoff: Floats  # of each history

    def refine(self, chance: Floats, histories: Ids, tokens: Ids, vocab: int) -> Floats:
        """p(w | u) from p(w | u'), the equation above; an unseen history changes nothing."""
        grams = self.numbers(histories, tokens, vocab)
        gain = np.where(grams == UNSEEN, 0.0, self.gain[grams])
        return np.where(histories == UNSEEN, chance, gain + self.backoff[histories] * chance)

    def numbers(self, histories: Ids, tokens: Ids, vocab: int) -> Ids:
        """The number of each gram, or UNSEEN."""
        codes = np.where(histories == UNSEEN, UNSEEN, histories * vocab + tokens)
        places = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[places] == codes, places, UNSEEN)


class Ngram:
    """The grams of a text up to a length, as chances of the next token."""

    def __init__(self, config: NgramConfig, text: Ids) -> None:
        """Count `text` and smooth the counts.

        Raises:
            ValueError: the text is shorter than the longest gram, or has a token out of range.
        """
        if len(text) < config.order:
            raise ValueError(f"text must have at least order={config.order} tokens: {len(text)}")
        if text.min() < 0 or text.max() >= config.vocab:
            raise ValueError(f"text must have tokens in [0, {config.vocab}): up to {text.max()}")
        self.config = config
        self._orders: list[_Order] = []
        histories = 1  # the empty one
        for codes, counts in _count(text, config):
            self._orders.append(_smooth(codes, counts, histories, config.vocab))
            histories = len(codes)

    @property
    def parameters(self) -> int:
        """How many numbers it stores: one a gram and one a history."""
        return sum(len(order.gain) + len(order.backoff) for order in self._orders)

    def surprise(self, texts: Ids) -> Floats:
        """-log p(token | at most order - 1 tokens before it) of every token of every row, in nats.

        One text, or rows of texts that know nothing of one another.
        """
        chance = np.full(texts.shape, 1 / self.config.vocab)
        for order, histories in zip(self._orders, self._histories(texts), strict=True):
            chance = order.refine(chance, histories[..., :-1], texts, self.config.vocab)
        return -np.log(chance)

    def log_probabilities(self, tokens: Tokens) -> Float[Tensor, "b t v"]:
        """Of the next token, at every position, in nats: the interface of `autoregressive`."""
        texts, every = tokens.numpy(), np.arange(self.config.vocab)
        chance = np.full((*texts.shape, len(every)), 1 / len(every))
        for order, histories in zip(self._orders, self._histories(texts), strict=True):
            chance = order.refine(chance, histories[..., 1:, None], every, len(every))
        return torch.from_numpy(np.log(chance))

    def _histories(self, texts: Ids) -> Iterator[Ids]:
        """For each order, shortest first: the history before each token and after the last."""
        start = (*texts.shape[:-1], 1)
        histories: Ids = np.zeros((*texts.shape[:-1], texts.shape[-1] + 1), dtype=np.int64)
        for order in self._orders:
            yield histories  # of the shortest order all are empty, and the empty one is number 0
            grams = order.numbers(histories[..., :-1], texts, self.config.vocab)
            histories = np.concatenate([np.full(start, UNSEEN), grams], axis=-1)


def _count(text: Ids, config: NgramConfig) -> Iterator[tuple[Ids, Ids]]:
    """Codes and counts of the grams of each length, shortest first.

    The longest grams are counted as often as they occur; a shorter one counts the different
    tokens before it, which is how often it was needed when a longer history was new.
    """
    codes, _, numbers, occurrences = _unique(text)
    for length in range(2, config.order + 1):
        longer = numbers[:-1] * config.vocab + text[length - 1 :]
        longer_codes, first, longer_numbers, longer_occurrences = _unique(longer)
        suffixes = numbers[first + 1]  # the same gram without its oldest token
        yield codes, np.bincount(suffixes, minlength=len(codes))
        codes, numbers, occurrences = longer_codes, longer_numbers, longer_occurrences
    yield codes, occurrences


def _unique(codes: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Distinct codes; where each is first; the place of every code among them; how many of each."""
    return np.unique(codes, return_index=True, return_inverse=True, return_counts=True)


def _smooth(codes: Ids, counts: Ids, histories: int, vocab: int) -> _Order:
    """Take a discount off every count, and give what is left of 1 to the shorter history."""
    history = codes // vocab
    total = np.bincount(history, weights=counts, minlength=histories)
    discount = np.minimum(_discounts(counts)[np.minimum(counts, 3)], counts)
    set_free = np.bincount(history, weights=discount, minlength=histories)
    known = total > 0  # not so for what stands only at the very end of the text
    return _Order(
        codes=codes,
        gain=(counts - discount) / np.where(known, total, 1)[history],
        backoff=np.where(known, set_free / np.where(known, total, 1), 1.0),
    )


def _discounts(counts: Ids) -> Floats:
    """What to take off a count of 0, 1, 2 and of 3 or more."""
    n1, n2, n3, n4 = (int((counts == c).sum()) for c in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2) if n1 else 0.5
    if not (n1 and n2 and n3):
        return np.array([0.0, y, y, y])
    off = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return np.array([0.0, *(max(d, LEAST_DISCOUNT) for d in off)])
