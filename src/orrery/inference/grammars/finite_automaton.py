"""Finite automata over bytes: from an expression to one that is never in two states at once.

Source: Rabin and Scott 1959, "Finite Automata and Their Decision Problems", IBM Journal 3(2), for
the sets of states of a nondeterministic automaton as states, and for products.
Differs from the paper: a byte in place of a symbol; states that lead nowhere are left out.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.errors import UsageError
from orrery.inference.grammars.thompson import Expression, Nfa, size

STATES = 20_000  # an automaton has at most so many
WORK = 1_000_000  # steps of a construction; more would keep its user waiting


class TooLarge(UsageError):  # noqa: N818  (it is said of the expression)
    """An automaton would have more states than are allowed."""


@dataclass(frozen=True, slots=True)
class Dfa:
    """Deterministic: state 0 is the first; `table` [states 256] has the next, -1 where none is."""

    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]

    def accepts(self, text: bytes) -> bool:
        """Whether it is in a final state after this."""
        state = 0
        for byte in text:
            state = int(self.table[state, byte])
            if state < 0:
                return False
        return bool(self.accepting[state])


def determinise(expression: Expression) -> Dfa:
    """The automaton of an expression.

    Raises:
        TooLarge: it would have too many states, or take too long to make.
    """
    if size(expression) > STATES:
        raise TooLarge(f"it needs more than {STATES} states")
    nfa = Nfa()
    first = nfa.add(expression, 0)
    cuts = sorted({0, 256}.union(*({low, high + 1} for m in nfa.moves for low, high, _ in m)))
    begin = nfa.closure([first], start=True)
    keys, rows, work = {(begin, True): 0}, list[NDArray[np.int32]](), 0
    for states, _ in (queue := [(begin, True)]):
        targets = defaultdict[int, set[int]](set)
        for low, high, target in (move for state in states for move in nfa.moves[state]):
            for place in range(bisect_left(cuts, low), bisect_left(cuts, high + 1)):
                targets[place].add(target)
                work += 1
        row = np.full(256, -1, np.int32)
        for place, after in targets.items():
            key = (nfa.closure(after), False)
            work += len(key[0])
            if key not in keys:
                keys[key] = len(keys)
                queue.append(key)
            row[cuts[place] : cuts[place + 1]] = keys[key]
        rows.append(row)
        if len(keys) > STATES or work > WORK:
            raise TooLarge(f"it needs more than {STATES} states, or too long to find them")
    accepting = np.array([nfa.final(states, start=start) for states, start in queue])
    return trimmed(Dfa(np.stack(rows), accepting))


def intersection(one: Dfa, other: Dfa) -> Dfa:
    """What both accept.

    Raises:
        TooLarge: it would have too many states.
    """
    keys, rows = {(0, 0): 0}, list[NDArray[np.int32]]()
    for a, b in (queue := [(0, 0)]):
        here, there = one.table[a], other.table[b]
        codes = np.where((here < 0) | (there < 0), -1, here.astype(np.int64) * len(other.table))
        codes = np.where(codes < 0, -1, codes + there)
        found, places = np.unique(codes, return_inverse=True)
        numbers = np.full(len(found), -1, np.int32)
        for i, code in enumerate(found.tolist()):
            if code >= 0:
                pair = divmod(code, len(other.table))
                if pair not in keys:
                    keys[pair] = len(keys)
                    queue.append(pair)
                numbers[i] = keys[pair]
        rows.append(numbers[places])
        if len(keys) > STATES // 2:
            raise TooLarge(f"it needs more than {STATES // 2} states")
    left, right = np.array(queue).T
    return trimmed(Dfa(np.stack(rows), one.accepting[left] & other.accepting[right]))


def trimmed(dfa: Dfa) -> Dfa:
    """The same without the states from which no text is accepted, but for the first state."""
    before = defaultdict[int, list[int]](list)
    changes = np.diff(dfa.table, axis=1, prepend=-1) != 0
    for state, byte in np.argwhere(changes).tolist():
        before[int(dfa.table[state, byte])].append(state)
    todo = dfa.accepting.nonzero()[0].tolist()
    useful = dfa.accepting.copy()
    while todo:
        for state in before[todo.pop()]:
            if not useful[state]:
                useful[state] = True
                todo.append(state)
    kept = useful.copy()
    kept[0] = True
    places = np.where(useful, np.cumsum(kept, dtype=np.int32) - 1, -1)
    table = dfa.table[kept]
    return Dfa(np.where(table < 0, -1, places[table]).astype(np.int32), dfa.accepting[kept])


def chain(one: Dfa, least: int, most: int | None) -> Dfa:
    """Any number from least to most of what an automaton accepts, one after another.

    Args:
        one: has a single final state, from which no byte leads on.
        least: of them.
        most: None: as many as one likes.

    Raises:
        TooLarge: it would have too many states.
    """
    copies = least + 1 if most is None else most + 1
    width = len(one.table) - 1
    if copies * width > 2 * STATES:
        raise TooLarge(f"it needs more than {2 * STATES} states")
    final = int(one.accepting.argmax())
    order = (
        np.cumsum(~one.accepting, dtype=np.int32) - 1
    )  # without the final state, which is the next copy's first
    local = np.where(one.table < 0, -1, order[one.table])
    kept = np.delete(local, final, axis=0)
    leave = np.delete(one.table, final, axis=0) == final
    first = np.arange(copies, dtype=np.int32)[:, None, None] * width
    after = first + width if most is not None else np.minimum(first + width, first[-1])
    table = np.where(leave, after, np.where(kept < 0, -1, kept + first)).reshape(-1, 256)
    if most is not None:
        table = table[: most * width + 1].copy()
        table[-1] = -1
    accepting = np.zeros(len(table), dtype=np.bool_)
    accepting[least * width :: width] = True
    return Dfa(table.astype(np.int32), accepting)
