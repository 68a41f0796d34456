"""Decimal numbers between two bounds, digit by digit: automata that compare as they read.

What is left of both bounds says which digits may come; once a digit is above the lower bound's or
below the upper one's, that bound no longer matters and all digits may.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil, floor
from typing import Any

from orrery.errors import UsageError
from orrery.inference.grammars.finite_automaton import Dfa
from orrery.inference.grammars.grammar_nodes import END, Nodes
from orrery.inference.grammars.regular_expression import automaton

Bound = int | float
LONGEST = 100
"""Most digits of a bound."""
WITHIN = 18
"""Most digits of a whole number where no bound says so."""
EXACT = 15
"""A double tells any two numbers of so many digits apart."""
WHOLE = 10
"""Most digits before the point where one bound alone is given."""
PLACES = 6
"""Digits after the point of a number with bounds, unless a bound has more of them."""
ANY = rf"-?(0|[1-9]\d{{0,{EXACT - 1}}})(\.\d{{1,{EXACT}}})?([eE][+-]?\d{{1,2}})?"
"""A number that has no bounds: never too large for a double."""


def bound(flat: Mapping[str, Any], name: str, tighter: Any) -> tuple[Bound | None, bool]:
    """The tighter of the two bounds on one side, and whether it is itself outside."""
    within, outside = flat.get(f"m{name}"), flat.get(f"exclusiveM{name}")
    if outside is None or (within is not None and tighter(within, outside) != outside):
        return within, False
    return outside, True


def integers(
    nodes: Nodes, low: Bound | None, high: Bound | None, *, strict: tuple[bool, bool]
) -> int:
    """The node before a whole number that is within bounds; the rule ends after it.

    Args:
        nodes: gets the nodes.
        low: the least; None if there is none.
        high: the greatest.
        strict: the bounds themselves are outside.

    Raises:
        UsageError: a bound has too many digits.
    """
    least = None if low is None else floor(Fraction(low)) + 1 if strict[0] else ceil(Fraction(low))
    most = (
        None if high is None else ceil(Fraction(high)) - 1 if strict[1] else floor(Fraction(high))
    )
    given = [str(abs(bound)) for bound in (least, most) if bound is not None]
    digits = max(map(len, given), default=0)
    if digits > LONGEST:
        raise UsageError(f"a bound has {digits} digits; at most {LONGEST} are supported")
    wide = 10 ** max(WITHIN, digits + 1) - 1
    return between(nodes, -wide if least is None else least, wide if most is None else most, 0)


def numbers(
    nodes: Nodes, low: Bound | None, high: Bound | None, *, strict: tuple[bool, bool]
) -> int:
    """The same for any number; it is written without an exponent, in digits a double can tell.

    Raises:
        UsageError: the bounds have too many digits.
    """
    if low is None and high is None:
        return nodes.automaton(_unbounded(), END)
    bounds = [None if one is None else Decimal(repr(one)) for one in (low, high)]
    given = [one for one in bounds if one is not None]
    if any(one and not -LONGEST < one.adjusted() < LONGEST for one in given):
        raise UsageError(f"a bound of a number has more than {EXACT} digits")
    after = max([0, *(-_exponent(one) for one in given)])
    whole = max([1 if len(given) == 2 else WHOLE, *(len(str(abs(int(one)))) for one in given)])
    places = min(max(PLACES, after), EXACT - whole)
    if after > places:
        raise UsageError(f"the bounds of a number have more than {EXACT} digits together")
    scaled = [None if one is None else int(one.scaleb(places)) for one in bounds]
    wide = 10 ** (whole + places) - 1
    least = -wide if scaled[0] is None else scaled[0] + strict[0]
    most = wide if scaled[1] is None else scaled[1] - strict[1]
    return between(nodes, least, most, places)


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def between(nodes: Nodes, least: int, most: int, places: int) -> int:
    """The node before a number from least to most, both in units of the last place."""
    digits = Digits(nodes)
    starts = [digits.positive(max(least, 0), most, places)]
    if least < 0:
        minus = digits.positive(max(-most, 1), -least, places)
        starts.append(nodes.literal(b"-", minus))
    return nodes.node(*starts)


@cache
def _unbounded() -> Dfa:
    return automaton(ANY)


class Digits:
    """What may be left of a number, by what is left of its bounds."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes, self._known = nodes, dict[tuple[str, str, int], int]()

    def positive(self, least: int, most: int, places: int) -> int:
        """The node before a number that is not below nought."""
        starts = []
        for size in range(1, len(str(max(most, 0))) + 1):
            low = max(least, 10 ** (size + places - 1) if size > 1 else 0)
            high = min(most, 10 ** (size + places) - 1)
            if low <= high:
                width = size + places
                starts.append(self.rest(f"{low:0{width}}", f"{high:0{width}}", size))
        return self.nodes.node(*starts)

    def rest(self, low: str, high: str, whole: int) -> int:
        """The node before the digits that are left.

        Args:
            low: of the lower bound.
            high: of the upper bound, as long.
            whole: of them stand before the point; -1 right after it, -2 further on.
        """
        key = (low, high, whole)
        if key in self._known:
            return self._known[key]
        self._known[key] = node = self.nodes.node()
        if whole in (0, -2) and not low.strip("0"):
            self.nodes.silent[node].append(END)
        if whole == 0:
            if low:
                self.nodes.edges[node] = ((ord("."), ord("."), self.rest(low, high, -1)),)
            return node
        edges = list[tuple[int, int, int]]()
        for digit in "0123456789" if low else "":
            if low[0] <= digit <= high[0]:
                least = low[1:] if digit == low[0] else "0" * len(low[1:])
                most = high[1:] if digit == high[0] else "9" * len(high[1:])
                to = self.rest(least, most, whole - 1 if whole > 0 else -2)
                begin = edges.pop()[0] if edges and edges[-1][2] == to else ord(digit)
                edges.append((begin, ord(digit), to))
        self.nodes.edges[node] = tuple(edges)
        return node
