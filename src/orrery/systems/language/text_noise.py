"""Noise for texts: what T5 and BART are trained to take out again.

Source: Raffel et al. 2019 (T5), arXiv:1910.10683, section 3.1.4, for `corrupt_spans`; Lewis et al.
2019 (BART), arXiv:1910.13461, section 2.2, for the others: token masking, token deletion, text
infilling, sentence permutation and document rotation.
Differs from the papers: stretches never touch, and hide exactly the share that is asked for.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator

from orrery.catalog import System

SYSTEM = System(
    stem="text_noise", area="language", title="Noise for denoising texts", year=2019,
    papers=("arXiv:1910.10683", "arXiv:1910.13461"), builds_on=(),
)  # fmt: skip


def corrupt_spans(
    tokens: Sequence[int],
    generator: Generator,
    *,
    sentinel: int,
    rate: float = 0.15,
    mean_length: float = 3.0,
) -> tuple[list[int], list[int]]:
    """A text with stretches cut out, and those stretches: the source and target of pre-training.

    In the source each stretch is one sentinel, in the target each stands after its sentinel. Of
    `n` tokens round(rate n) are cut out, in stretches of `mean_length` on average, and two are
    never neighbours.

    Args:
        tokens: at least two.
        generator: the source of chance.
        sentinel: the first; the next ones count down from it, as in the published vocabulary.
        rate: share of the tokens to cut out.
        mean_length: of a stretch.

    Raises:
        ValueError: an argument is out of range.
    """
    if len(tokens) < 2:
        raise ValueError(f"tokens must be at least 2, got {len(tokens)}")
    if not 0 < rate < 1 or mean_length < 1:
        raise ValueError(f"rate must be in (0, 1) and mean_length from 1: {rate}, {mean_length}")
    noise = min(max(round(len(tokens) * rate), 1), len(tokens) - 1)
    spans = min(max(round(noise / mean_length), 1), len(tokens) - noise)
    kept = parts(len(tokens) - noise, spans, generator)
    source, target, place = list[int](), list[int](), 0
    for i, (stays, goes) in enumerate(zip(kept, parts(noise, spans, generator), strict=True)):
        source += [*tokens[place : place + stays], sentinel - i]
        target += [sentinel - i, *tokens[place + stays : place + stays + goes]]
        place += stays + goes
    return source, target


def parts(total: int, count: int, generator: Generator) -> list[int]:
    """`total` cut at random into so many parts, none empty, every way as likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: count - 1].sort().values + 1
    ends = [0, *cuts.tolist(), total]
    return [b - a for a, b in pairwise(ends)]


def hide(
    tokens: Sequence[int], generator: Generator, *, mask: int, rate: float = 0.15
) -> list[int]:
    """Token masking: each token is the mask with probability `rate`."""
    drawn = torch.rand(len(tokens), generator=generator).tolist()
    return [mask if u < rate else token for token, u in zip(tokens, drawn, strict=True)]


def drop(tokens: Sequence[int], generator: Generator, *, rate: float = 0.15) -> list[int]:
    """Token deletion: each token is left out with probability `rate`, with no trace."""
    drawn = torch.rand(len(tokens), generator=generator).tolist()
    return [token for token, u in zip(tokens, drawn, strict=True) if u >= rate]


def infill(
    tokens: Sequence[int],
    generator: Generator,
    *,
    mask: int,
    rate: float = 0.3,
    mean_length: float = 3.0,
) -> list[int]:
    """Text infilling: stretches of Poisson length become one mask each.

    A stretch of no length puts in a mask where nothing is missing. Of n tokens round(rate n) are
    hidden.

    Args:
        tokens: the text.
        generator: the source of chance.
        mask: the token that stands for a stretch.
        rate: share of the tokens to hide.
        mean_length: of a stretch.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 <= rate < 1 or mean_length <= 0:
        raise ValueError(f"rate must be in [0, 1) and mean_length above 0: {rate}, {mean_length}")
    lengths: list[int] = []
    left = round(rate * len(tokens))
    kept = len(tokens) - left
    while left > 0 and len(lengths) < kept:  # one gap stays for the rest
        drawn = int(torch.poisson(torch.tensor(mean_length), generator=generator))
        lengths.append(min(drawn, left))
        left -= lengths[-1]
    if left:
        lengths.append(left)
    gaps = set(torch.randperm(kept + 1, generator=generator)[: len(lengths)].tolist())
    source, rest, place = list[int](), iter(lengths), 0
    for gap in range(kept + 1):  # before each token that is kept, and after the last
        if gap in gaps:
            source.append(mask)
            place += next(rest)
        source += tokens[place : place + 1]
        place += 1
    return source


def permute_sentences(tokens: Sequence[int], generator: Generator, *, stop: int) -> list[int]:
    """Sentence permutation: the stretches that end with `stop` in a random order."""
    sentences: list[list[int]] = [[]]
    for token in tokens:
        sentences[-1].append(token)
        if token == stop:
            sentences.append([])
    if not sentences[-1]:
        sentences.pop()
    order = torch.randperm(len(sentences), generator=generator).tolist()
    return [token for i in order for token in sentences[i]]


def rotate(tokens: Sequence[int], generator: Generator) -> list[int]:
    """Document rotation: begin at a random token, what was before it comes last."""
    if not tokens:
        return []
    start = int(torch.randint(len(tokens), (1,), generator=generator))
    return [*tokens[start:], *tokens[:start]]
