"""Bits: what a prediction is worth as compression.

A model that gives a symbol the chance p can store it in -log2 p bits (Shannon 1948), so the
cross-entropy of a language model is the size of the file it would write, up to two bits.
"""

import math


def bits(nats: float) -> float:
    """The same amount of information in bits: a nat is 1/ln 2 of them."""
    return nats / math.log(2)


def bits_per_character(nats: float, *, characters: int) -> float:
    """Bits a character of a text whose tokens were predicted at a total cost of `nats`.

    A model of word pieces predicts fewer tokens than there are characters, so its mean loss a
    token has to be brought to characters before it can be compared; the total needs no such care.

    Raises:
        ValueError: characters is below 1.
    """
    if characters < 1:
        raise ValueError(f"characters must be at least 1, got {characters}")
    return bits(nats) / characters
