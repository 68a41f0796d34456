"""The few smallest of many numbers, for every row of a matrix."""

import numpy as np
from jaxtyping import Float, Int

from orrery.train.compiled import compiled


@compiled
def smallest(
    scores: Float[np.ndarray, "q n"], own: Int[np.ndarray, " q"], wanted: int
) -> tuple[Int[np.ndarray, "q wanted"], Float[np.ndarray, " q"]]:
    """Each row's columns of smallest score but its own, in no order, and the largest among them.

    A bag takes every score under a limit; when it is full, only the smallest stay and the limit
    falls to the largest of them. So most scores are passed over after one comparison.
    """
    rows, columns = scores.shape
    who = np.empty((rows, wanted), dtype=np.int32)
    limits = np.empty(rows, dtype=scores.dtype)
    room = 3 * wanted + 64
    bag, names = np.empty(room, dtype=scores.dtype), np.empty(room, dtype=np.int32)
    strip = 64  # scores looked at together, by vector instructions
    for i in range(rows):
        row = scores[i]
        held, limit = 0, scores.dtype.type(np.inf)
        for begin in range(0, columns, strip):
            end = min(begin + strip, columns)
            hits = 0
            for j in range(begin, end):
                hits += row[j] < limit
            if hits == 0:
                continue
            if held + strip > room:
                select(bag, names, held, wanted)
                held, limit = wanted, bag[wanted - 1]
            for j in range(begin, end):
                if row[j] < limit and j != own[i]:
                    bag[held], names[held] = row[j], j
                    held += 1
        select(bag, names, held, wanted)
        who[i], limits[i] = names[:wanted], bag[wanted - 1]
    return who, limits


@compiled
def select(
    bag: Float[np.ndarray, " room"], names: Int[np.ndarray, " room"], held: int, wanted: int
) -> None:
    """Move the smallest `wanted` of the `held` scores to the front, the largest of them last."""
    low, high = 0, held - 1
    while low < high:
        pivot = bag[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while bag[i] < pivot:
                i += 1
            while bag[j] > pivot:
                j -= 1
            if i <= j:
                bag[i], bag[j] = bag[j], bag[i]
                names[i], names[j] = names[j], names[i]
                i += 1
                j -= 1
        if wanted - 1 <= j:
            high = j
        elif wanted - 1 >= i:
            low = i
        else:
            return
