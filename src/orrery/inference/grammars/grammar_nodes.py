"""The nodes of a grammar: they lead on by a byte, for nothing, or through another rule."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orrery.inference.grammars.finite_automaton import Dfa, TooLarge

NODES = 64_000
END = 0
"""The node where a rule ends."""

Edges = tuple[tuple[int, int, int], ...]
"""First byte, last byte, next node."""


@dataclass(slots=True)
class Nodes:
    """What a grammar is made of; rules are built from their ends, each node before the next."""

    edges: list[Edges] = field(default_factory=lambda: [()])
    silent: list[list[int]] = field(default_factory=lambda: [[]])
    calls: list[list[tuple[int, int]]] = field(default_factory=lambda: [[]])

    def node(self, *silent: int, edges: Edges = ()) -> int:
        """A new one, from which one gets to some for nothing and to some by a byte.

        Raises:
            TooLarge: there are too many.
        """
        if len(self.edges) >= NODES:
            raise TooLarge(f"the grammar needs more than {NODES} nodes")
        self.edges.append(edges)
        self.silent.append(list(silent))
        self.calls.append([])
        return len(self.edges) - 1

    def literal(self, text: bytes, after: int) -> int:
        """The node before these bytes."""
        for byte in reversed(text):
            after = self.node(edges=((byte, byte, after),))
        return after

    def words(self, texts: Iterable[bytes], after: int) -> int:
        """The node before any one of these: a tree in which beginnings are shared."""
        first, known = self.node(), dict[tuple[int, int], int]()
        for text in texts:
            here = first
            for byte in text:
                if (here, byte) not in known:
                    known[here, byte] = self.node()
                    self.edges[here] += ((byte, byte, known[here, byte]),)
                here = known[here, byte]
            self.silent[here].append(after)
        return first

    def call(self, rule: int, after: int) -> int:
        """The node before a whole rule."""
        node = self.node()
        self.calls[node].append((rule, after))
        return node

    def automaton(self, dfa: Dfa, after: int) -> int:
        """The node before a text that a finite automaton accepts."""
        first = len(self.edges)
        for state, row in enumerate(dfa.table):
            cuts = [0, *((row[1:] != row[:-1]).nonzero()[0] + 1).tolist(), 256]
            ranges = zip(cuts, cuts[1:], row[cuts[:-1]].tolist(), strict=False)
            edges = tuple((low, end - 1, first + to) for low, end, to in ranges if to >= 0)
            self.node(*([after] if dfa.accepting[state] else []), edges=edges)
        return first
