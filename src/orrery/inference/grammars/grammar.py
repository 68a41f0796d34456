"""A grammar as an automaton with a stack over bytes, read by lazily made sets of its states.

Nodes lead on by a byte, for nothing, or through another rule: a call puts the node that follows it
on the stack. A text may be read in several ways at once; what is kept of it, a configuration, is
the set of them. From every configuration the text can be finished, and the shortest way is known.

Source: Willard and Louf 2023, "Efficient Guided Generation for Large Language Models",
arXiv:2307.09702, sections 3 and 4, for automata that guide; Dong et al. 2024, "XGrammar",
arXiv:2411.15100, section 3, for stacks over bytes; Knuth 1977, "A Generalization of Dijkstra's
Algorithm", IPL 6(1), for the shortest text of each rule.
Differs from the papers: stacks stay small enough to compare them, so that a configuration is met
again as itself; calls inside one another, and ways at once, are bounded.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush
from typing import Any

from orrery.errors import UsageError
from orrery.inference.grammars.grammar_nodes import END, Nodes
from orrery.inference.grammars.regular_expression import automaton

DEEPEST = 64  # calls inside one another
WAYS = 512  # of reading a text that are kept at once: those that can be finished soonest
FAR = 1 << 60

Stack = tuple[Any, ...]
"""Empty, or its depth, the node on top, and the stack below."""
Configuration = tuple[tuple[int, Stack], ...]
"""Ways in which a text was read: the node, and the stack of nodes to return to."""


class Grammar:
    """The texts of a rule; every configuration of it can be finished."""

    def __init__(self, nodes: Nodes, start: int) -> None:
        """Read a rule.

        Args:
            nodes: its nodes; they are taken over.
            start: where it begins.

        Raises:
            UsageError: there is no such text, or only texts with too many calls in one another.
        """
        self._edges, self._silent, self._calls = nodes.edges, nodes.silent, nodes.calls
        size = len(nodes.edges)
        self._far, self._deep = [FAR] * size, [0] * size
        self._way: list[tuple[int, int]] = [(-1, -1)] * size  # byte or call of the shortest text
        self._first = start
        self._settle()
        if self._far[start] == FAR:
            raise UsageError("no text fits")
        if self._deep[start] > DEEPEST:
            raise UsageError(f"every text that fits is nested deeper than {DEEPEST} rules")
        self._prune()
        self._single = [
            bool(edges)
            and not self._silent[node]
            and not self._calls[node]
            and not self._deep[node]
            for node, edges in enumerate(self._edges)
        ]  # nothing but itself is reached for nothing
        self.start = self.closure([(start, ())])

    def without(self, missing: Collection[int]) -> "Grammar":
        """Its texts without some bytes.

        Raises:
            UsageError: there is none.
        """
        cut = [
            tuple(part for edge in edges for part in _around(edge, missing))
            for edges in self._edges
        ]
        nodes = Nodes(cut, [*map(list, self._silent)], [*map(list, self._calls)])
        return Grammar(nodes, self._first)

    def _settle(self) -> None:
        """Find the shortest text from each node to the end of its rule, the nearest first."""
        before = defaultdict[int, list[int]](list)
        for node, edges in enumerate(self._edges):
            for target in {to for _, _, to in edges}.union(self._silent[node]):
                before[target].append(node)
            for rule, after in self._calls[node]:
                before[rule].append(node)
                before[after].append(node)
        done, queue = [False] * len(self._edges), [(0, END)]
        self._far[END] = 0
        while queue:
            _, target = heappop(queue)
            if not done[target]:
                done[target] = True
                for node in before[target]:
                    if not done[node] and self._nearer(node, target, done):
                        heappush(queue, (self._far[node], node))

    def _nearer(self, node: int, target: int, done: list[bool]) -> bool:
        """Whether the way over a target is shorter than what was known; it is known then."""
        ways = [
            (self._far[target] + 1, self._deep[target], (low, target))
            for low, _, to in self._edges[node]
            if to == target
        ][:1]
        if target in self._silent[node]:
            ways.append((self._far[target], self._deep[target], (-1, target)))
        for rule, after in self._calls[node]:
            if target in (rule, after) and done[rule] and done[after]:
                deep = max(self._deep[rule] + (after != END), self._deep[after])
                ways.append((self._far[rule] + self._far[after], deep, (-2 - rule, after)))
        far, deep, way = min(ways, default=(FAR, 0, (-1, -1)))
        if far >= self._far[node]:
            return False
        self._far[node], self._deep[node], self._way[node] = far, deep, way
        return True

    def _prune(self) -> None:
        """Take out what leads nowhere."""
        far = self._far
        for node in range(len(far)):
            if any(far[to] == FAR for _, _, to in self._edges[node]):
                self._edges[node] = tuple(e for e in self._edges[node] if far[e[2]] < FAR)
            self._silent[node] = [to for to in self._silent[node] if far[to] < FAR]
            self._calls[node] = [(r, a) for r, a in self._calls[node] if max(far[r], far[a]) < FAR]

    def closure(self, ways: Iterable[tuple[int, Stack]]) -> Configuration:
        """These and what one gets to from them for nothing; only what reads a byte, or the end."""
        found, seen, todo = list[tuple[int, Stack]](), set[tuple[int, Stack]](), list(ways)
        while todo:
            way = todo.pop()
            node, stack = way
            depth = stack[0] if stack else 0
            if way in seen or depth + self._deep[node] > DEEPEST:
                continue
            seen.add(way)
            if self._edges[node] or way == (END, ()):
                found.append(way)
            todo += [(to, stack) for to in self._silent[node]]
            for rule, after in self._calls[node]:
                if after == END:
                    todo.append((rule, stack))
                elif depth + self._deep[after] <= DEEPEST:
                    todo.append((rule, (depth + 1, after, stack)))
            if node == END and stack:
                todo.append((stack[1], stack[2]))
        if len(found) > 1:
            found.sort(key=lambda way: (self._distance(*way), way))
        return tuple(found[:WAYS])

    def row(self, configuration: Configuration) -> list[tuple[int, int, Configuration]]:
        """Where one gets from here: first byte, last byte, and what is then the configuration."""
        if len(configuration) == 1:
            ((node, stack),) = configuration
            reached = {
                to: ((to, stack),) if self._single[to] else self.closure([(to, stack)])
                for _, _, to in self._edges[node]
            }
            return [(low, high, reached[to]) for low, high, to in self._edges[node] if reached[to]]
        moves = [(*edge, stack) for node, stack in configuration for edge in self._edges[node]]
        cuts = sorted({0}.union(*({low, high + 1} for low, high, _, _ in moves)))
        into = defaultdict[int, list[tuple[int, Stack]]](list)
        places = {cut: i for i, cut in enumerate(cuts)}
        for low, high, to, stack in moves:
            for i in range(places[low], places[high + 1]):
                into[i].append((to, stack))
        known: dict[tuple[tuple[int, Stack], ...], Configuration] = {}
        for ways in map(tuple, into.values()):
            if ways not in known:
                known[ways] = self.closure(ways)
        rows = ((cuts[i], cuts[i + 1] - 1, known[tuple(ways)]) for i, ways in into.items())
        return [one for one in rows if one[2]]

    def step(self, configuration: Configuration, byte: int) -> Configuration:
        """After one byte more; empty where it does not fit."""
        for low, high, after in self.row(configuration):
            if low <= byte <= high:
                return after
        return ()

    def complete(self, configuration: Configuration) -> bool:
        """Whether the text may end here."""
        return (END, ()) in configuration

    def accepts(self, text: bytes) -> bool:
        """Whether this is a text of the grammar."""
        here = self.start
        for byte in text:
            here = self.step(here, byte)
        return self.complete(here)

    def _distance(self, node: int, stack: Stack) -> int:
        """Bytes of the shortest text that finishes one way."""
        far = self._far[node]
        while stack:
            _, after, stack = stack
            far += self._far[after]
        return far

    def distance(self, configuration: Configuration) -> int:
        """Bytes of the shortest text that finishes this."""
        return self._distance(*configuration[0])

    def shortest(self, configuration: Configuration) -> bytes:
        """The shortest text that finishes this."""
        node, stack = configuration[0]
        returns = list[int]()
        while stack:
            _, after, stack = stack
            returns.insert(0, after)
        written = bytearray()
        while node != END or returns:
            if node == END:
                node = returns.pop()
                continue
            byte, after = self._way[node]
            if byte >= 0:
                written.append(byte)
            elif byte < -1:
                returns.append(after)
                after = -2 - byte
            node = after
        return bytes(written)


def _around(edge: tuple[int, int, int], missing: Collection[int]) -> Iterator[tuple[int, int, int]]:
    """The parts of an edge between the bytes that are missing."""
    low, high, to = edge
    for byte in sorted(byte for byte in missing if low <= byte <= high):
        if low < byte:
            yield low, byte - 1, to
        low = byte + 1
    if low <= high:
        yield low, high, to


def matching(pattern: str) -> Grammar:
    """The texts that a regular expression matches as a whole.

    Raises:
        UsageError: it is not supported, or matches nothing.
    """
    nodes = Nodes()
    return Grammar(nodes, nodes.automaton(automaton(pattern), END))
