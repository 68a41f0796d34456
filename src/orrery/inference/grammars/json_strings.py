"""Strings of JSON: what is between the quotes, by length, by pattern, or by a format's name.

A string without a pattern may use every escape. One with a pattern or a format has one spelling:
its characters as they are, and the shortest escape of those that must have one.

Source: RFC 8259, section 7, for strings and escapes; RFC 3339, section 5.6, for dates and times;
RFC 9562, section 4, for UUIDs.
Differs from the sources: half a surrogate pair is refused, since no UTF-8 has it; a time has no
leap second; an e-mail address is of plain letters, and has a domain.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from orrery.inference.grammars.code_points import ALL
from orrery.inference.grammars.finite_automaton import Dfa, chain, determinise, intersection
from orrery.inference.grammars.grammar_nodes import END, Edges, Nodes
from orrery.inference.grammars.regular_expression import automaton
from orrery.inference.grammars.thompson import OneOf, Repeat

MATCHED = 256
"""Most characters of a string whose length is counted and which has a pattern or a format too."""
HEX = "0123456789abcdef"
SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: '"', 92: "\\"}
CHARACTER = (
    r'[^"\\\x00-\x1f]|\\(["\\/bfnrt]|u([0-9A-Ca-cEFef][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}'
    r"|[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}))"
)
YEAR = r"([1-9]\d{3}|0[1-9]\d{2}|00[1-9]\d|000[1-9])"
FOURTH = r"0[48]|[2468][048]|[13579][26]"
DATE = (
    rf"({YEAR}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)"
    rf"|02-(0[1-9]|1\d|2[0-8]))|(\d\d({FOURTH})|({FOURTH})00)-02-29)"
)
HOUR = r"([01]\d|2[0-3]):[0-5]\d"
TIME = rf"{HOUR}:[0-5]\d(\.\d{{1,6}})?(Z|[+-]{HOUR})"
BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
ATOM = "[A-Za-z0-9_+-]{1,30}"
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
FORMATS = {
    "date": DATE,
    "time": TIME,
    "date-time": f"{DATE}T{TIME}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": rf"{BYTE}(\.{BYTE}){{3}}",
    "email": rf"{ATOM}(\.{ATOM})?@({LABEL}\.){{1,3}}[a-z]{{2,10}}",
}


def free(nodes: Nodes, character: int, least: int, most: int | None) -> int:
    """The node before a string of so many characters; the rule ends after it.

    Args:
        nodes: gets the nodes.
        character: the rule of one.
        least: of them.
        most: None: as many as one likes.
    """
    close = nodes.literal(b'"', END)
    following = nodes.node(close)
    if most is not None and most < least:
        return nodes.node()
    if most is None:
        nodes.silent[following].append(nodes.call(character, following))
    for count in range((least if most is None else most) - 1, -1, -1):
        more = nodes.call(character, following)
        following = nodes.node(more, *([close] if count >= least else []))
    return nodes.literal(b'"', following)


def character(nodes: Nodes) -> int:
    """The rule of one character of a string, in any spelling."""
    return nodes.automaton(_character(), END)


@cache
def _character() -> Dfa:
    return automaton(CHARACTER)


@cache
def _plain(*, many: bool) -> Dfa:
    """One character as it is, or a text of them."""
    return determinise(Repeat(OneOf(ALL)) if many else OneOf(ALL))


@cache
def _format(name: str) -> Dfa:
    return automaton(FORMATS[name])


def matching(
    nodes: Nodes, least: int, most: int | None, patterns: Sequence[str], form: str | None
) -> int:
    """The node before a string in which all patterns are found and which has a format.

    Raises:
        UsageError: a pattern is not supported, or all of it together is too large.
    """
    if most is not None and least <= MATCHED:
        most = min(most, MATCHED)
    parts = [automaton(pattern, search=True) for pattern in patterns]
    parts += [] if form is None else [_format(form)]
    if least or most is not None:
        parts.append(chain(_plain(many=False), least, most))
    whole = parts[0]
    for part in parts[1:]:
        whole = intersection(whole, part)
    return nodes.literal(b'"', spelled(nodes, whole, nodes.literal(b'"', END)))


def spelled(nodes: Nodes, dfa: Dfa, after: int) -> int:
    """The node before a text that an automaton accepts, as it is spelled inside a string."""
    rows = dfa.table.copy()
    rows[:, :32] = rows[:, 34] = rows[:, 92] = -1
    first = nodes.automaton(Dfa(rows, dfa.accepting), after)
    special = [*range(32), 34, 92]
    for state in np.flatnonzero((dfa.table[:, special] >= 0).any(axis=1)).tolist():
        targets = {one: first + int(to) for one in special if (to := dfa.table[state, one]) >= 0}
        nodes.edges[first + state] += ((92, 92, _escapes(nodes, targets)),)
    return first


def _escapes(nodes: Nodes, targets: dict[int, int]) -> int:
    """The node after a backslash."""
    edges = [(ord(SHORT[one]), to) for one, to in targets.items() if one in SHORT]
    tens = []
    for ten in (0, 1):
        units = [(ord(HEX[one % 16]), to) for one, to in targets.items()
                 if one not in SHORT and one // 16 == ten]  # fmt: skip
        if units:
            tens.append((ord(HEX[ten]), nodes.node(edges=_each(units))))
    if tens:
        edges.append((ord("u"), nodes.literal(b"00", nodes.node(edges=_each(tens)))))
    return nodes.node(edges=_each(edges))


def _each(edges: Sequence[tuple[int, int]]) -> Edges:
    return tuple((byte, byte, to) for byte, to in edges)


def other(nodes: Nodes, names: Sequence[str], after: int) -> int:
    """The node before a string that is none of these."""
    plain = _plain(many=True)
    size = len(plain.table)
    table, accepting = plain.table.tolist(), plain.accepting.tolist()
    inside, known = [0], {b"": size}  # the state of any text that a name's beginning is also in
    table.append(table[0].copy())
    accepting.append(True)
    for name in (name.encode() for name in names):
        for end in range(1, len(name) + 1):
            if name[:end] not in known:
                before = known[name[: end - 1]]
                known[name[:end]] = len(table)
                inside.append(table[inside[before - size]][name[end - 1]])
                table[before][name[end - 1]] = len(table)
                table.append(table[inside[-1]].copy())
                accepting.append(accepting[inside[-1]])
    for text in names:
        accepting[known[text.encode()]] = False
    order = [size, *(i for i in range(len(table)) if i != size)]  # the first state stands first
    places = np.full(len(table) + 1, -1, np.int32)
    places[order] = np.arange(len(table))
    found = places[np.array(table)[order]]
    whole = Dfa(found, np.array(accepting)[order])
    return nodes.literal(b'"', spelled(nodes, whole, nodes.literal(b'"', after)))
