"""Regular languages as expressions, and each as an automaton with one piece for each of its parts.

Source: Thompson 1968, "Regular Expression Search Algorithm", CACM 11(6).
Differs from the paper: a byte in place of a character; the two ends of a text can be asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from orrery.inference.grammars.code_points import Ranges, utf8


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after another."""

    parts: "tuple[Expression, ...]" = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of the parts; of none, nothing at all can be made."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part, again and again."""

    part: "Expression"
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """Nothing, where the text begins or ends."""

    at: Literal["start", "end"]


Expression = OneOf | Sequence | Choice | Repeat | Edge


def size(part: Expression) -> int:
    """States of its nondeterministic automaton, about."""
    if isinstance(part, OneOf):
        return 4 * len(part.ranges)
    if isinstance(part, Repeat):
        return 1 + size(part.part) * max(part.least + 1 if part.most is None else part.most, 1)
    if isinstance(part, Edge):
        return 1
    return 1 + sum(map(size, part.parts))


@dataclass(slots=True)
class Nfa:
    """Nondeterministic; state 0 is the final one."""

    moves: list[list[tuple[int, int, int]]] = field(default_factory=lambda: [[]])
    silent: list[list[int]] = field(default_factory=lambda: [[]])
    at_start: dict[int, int] = field(default_factory=dict)
    at_end: dict[int, int] = field(default_factory=dict)

    def state(self, *silent: int) -> int:
        """A new one, from which one gets to these for nothing."""
        self.moves.append([])
        self.silent.append(list(silent))
        return len(self.moves) - 1

    def add(self, part: Expression, after: int) -> int:
        """The state before a part, which goes on to the state `after`."""
        if isinstance(part, OneOf):
            return self._characters(part.ranges, after)
        if isinstance(part, Sequence):
            for one in reversed(part.parts):
                after = self.add(one, after)
            return after
        if isinstance(part, Choice):
            return self.state(*(self.add(one, after) for one in part.parts))
        if isinstance(part, Edge):
            state = self.state()
            (self.at_start if part.at == "start" else self.at_end)[state] = after
            return state
        if part.most is None:
            loop = self.state(after)
            self.silent[loop].append(self.add(part.part, loop))
            after = loop
        else:
            end = after
            for _ in range(part.most - part.least):
                after = self.state(self.add(part.part, after), end)
        for _ in range(part.least):
            after = self.add(part.part, after)
        return after

    def _characters(self, ranges: Ranges, after: int) -> int:
        first, known = self.state(), dict[object, int]()
        for product in utf8(ranges):
            state = after
            for place in range(len(product) - 1, 0, -1):
                rest = product[place:]
                if rest not in known:
                    known[rest] = self.state()
                    self.moves[known[rest]].append((*product[place], state))
                state = known[rest]
            self.moves[first].append((*product[0], state))
        return first

    def closure(self, states: Iterable[int], *, start: bool = False) -> frozenset[int]:
        """These and what one gets to from them for nothing."""
        found, todo = set[int](), list(states)
        while todo:
            state = todo.pop()
            if state not in found:
                found.add(state)
                todo += self.silent[state]
                if start and state in self.at_start:
                    todo.append(self.at_start[state])
        return frozenset(found)

    def final(self, states: frozenset[int], *, start: bool) -> bool:
        """Whether the text may end here."""
        while 0 not in states:
            more = states | {self.at_end[state] for state in states & self.at_end.keys()}
            more = self.closure(more, start=start)
            if more == states:
                return False
            states = more
        return True
