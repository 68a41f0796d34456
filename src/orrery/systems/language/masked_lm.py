"""Masked language modelling: hide some tokens, and guess them from both sides.

Of the tokens, 15 % are chosen to be guessed. Of those, 80 % are replaced by the mask, 10 % by any
token, and 10 % are left as they are, so that the model cannot trust what it sees anywhere.

Source: Devlin et al. 2018, "BERT", arXiv:1810.04805, section 3.1 and appendix A.1; Liu et al. 2019,
"RoBERTa", arXiv:1907.11692, section 4.1, for choosing anew each time a text is read.
Differs from the papers: each token is chosen by itself, so the share of a text varies about 15 %.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="masked_lm", area="language", title="Masked language modelling", year=2018,
    papers=("arXiv:1810.04805", "arXiv:1907.11692"), builds_on=(), realises=("masked-lm",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
NOT_ASKED = -100
"""The target of a token that is not to be guessed: cross-entropy leaves it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskingConfig:
    """How much is hidden, and how."""

    vocab: int
    mask: int
    """The token that hides another."""
    chosen: float = 0.15
    """Share of the tokens that are to be guessed."""
    masked: float = 0.8
    """Of those: replaced by the mask."""
    random: float = 0.1
    """Of those: replaced by any token."""

    def __post_init__(self) -> None:
        if self.vocab < 1:
            raise ValueError(f"vocab must be at least 1, got {self.vocab}")
        if not 0 <= self.mask < self.vocab:
            raise ValueError(f"mask must be from 0 to {self.vocab - 1}, got {self.mask}")
        if not 0 < self.chosen <= 1:
            raise ValueError(f"chosen must be in (0, 1], got {self.chosen}")
        if min(self.masked, self.random) < 0 or self.masked + self.random > 1:
            shares = f"masked={self.masked}, random={self.random}"
            raise ValueError(
                f"masked and random must be shares of at most 1 together, got {shares}"
            )


def corrupt(
    tokens: Tokens,
    config: MaskingConfig,
    generator: torch.Generator,
    *,
    special: Bool[Tensor, "b t"] | None = None,
) -> tuple[Tokens, Tokens]:
    """What the model reads, and what it is to guess there (`NOT_ASKED` elsewhere).

    Args:
        tokens: the texts.
        config: how much is hidden.
        generator: the source of chance; drawn from anew, it chooses anew (RoBERTa).
        special: tokens that are never chosen: padding, separators.
    """
    chosen = _chance(tokens, generator) < config.chosen
    if special is not None:
        chosen = chosen & ~special
    fate = _chance(tokens, generator)
    any_token = torch.randint(
        config.vocab, tokens.shape, generator=generator, device=tokens.device, dtype=tokens.dtype
    )
    read = tokens.masked_fill(chosen & (fate < config.masked), config.mask)
    replaced = chosen & (fate >= config.masked) & (fate < config.masked + config.random)
    read = torch.where(replaced, any_token, read)
    return read, tokens.masked_fill(~chosen, NOT_ASKED)


def masked_accuracy(logits: Float[Tensor, "b t v"], targets: Tokens) -> Float[Tensor, ""]:
    """Share of the tokens to be guessed that are guessed right.

    Raises:
        ValueError: no token is to be guessed.
    """
    asked = targets != NOT_ASKED
    if not asked.any():
        raise ValueError("targets must hold a token to be guessed, got none")
    return (logits.argmax(dim=-1) == targets)[asked].double().mean()


def _chance(tokens: Tokens, generator: torch.Generator) -> Float[Tensor, "b t"]:
    return torch.rand(tokens.shape, generator=generator, device=tokens.device)
