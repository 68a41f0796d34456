r"""Regular expressions as automata over UTF-8: what is written can be checked as it is written.

Source: Thompson 1968, "Regular Expression Search Algorithm", CACM 11(6).
Differs from the paper: the expressions are those that Python's `re` and ECMA-262 read alike. Where
the two match other characters (`\d`, `\w`, `\s`, what is outside these, and the dot), only what
both match is matched. Look-around, back references, word boundaries and flags are refused: they
are no regular languages, or no part of an expression.
"""

import re
from typing import NoReturn

from orrery.errors import UsageError
from orrery.inference.grammars.code_points import (
    ALL,
    LAST,
    NARROW,
    SURROGATES,
    Ranges,
    complement,
    union,
    wide,
)
from orrery.inference.grammars.finite_automaton import Dfa, determinise
from orrery.inference.grammars.thompson import Choice, Edge, Expression, OneOf, Repeat, Sequence

ALL_TEXT = Repeat(OneOf(ALL))
LONGEST = 10_000  # characters of a pattern
DEEPEST = 50  # groups inside one another
DOT = complement(union((ord(c), ord(c)) for c in "\n\r\u2028\u2029"))
SIGNS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
HEX = {"x": 2, "u": 4, "U": 8}
GROUP = re.compile(r"\?:|\?P?<[A-Za-z_]\w*>")
COUNT = re.compile(r"\{(\d{1,9})(,(\d{1,9})?)?\}")


def automaton(pattern: str, *, search: bool = False) -> Dfa:
    """What accepts the texts that a pattern matches.

    Args:
        pattern: the expression.
        search: it may match any part of the text, not only the whole of it.

    Raises:
        UsageError: it is no expression of the subset, or its automaton is too large.
    """
    if len(pattern) > LONGEST:
        raise UsageError(
            f"a pattern has {len(pattern)} characters; at most {LONGEST} are supported"
        )
    found = PatternReader(pattern).whole()
    if search:
        found = Sequence((ALL_TEXT, found, ALL_TEXT))
    try:
        return determinise(found)
    except UsageError as error:
        raise type(error)(f"pattern {shown(pattern)} is too large: {error}") from None


def shown(text: str) -> str:
    """A text in a line of an error."""
    return repr(text if len(text) < 60 else text[:56] + "...")


class PatternReader:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place, self.depth = pattern, 0, 0

    def whole(self) -> Expression:
        """The expression.

        Raises:
            UsageError: there is none.
        """
        found = self._choice()
        if self.place < len(self.pattern):
            self._refuse("a ) without its (")
        return found

    def _refuse(self, what: str) -> NoReturn:
        where = f"at character {self.place} of pattern {shown(self.pattern)}"
        raise UsageError(f"{what} {where} is not supported")

    def _next(self) -> str:
        """The character here; nothing at the end."""
        return self.pattern[self.place : self.place + 1]

    def _take(self) -> str:
        if not self._next():
            self._refuse("the end")
        self.place += 1
        return self.pattern[self.place - 1]

    def _choice(self) -> Expression:
        parts = [self._sequence()]
        while self._next() == "|":
            self.place += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Expression:
        parts: list[Expression] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Expression) -> Expression:
        limits = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        sign = self._next()
        if sign not in ("*", "+", "?", "{") or not sign:
            return part
        if sign == "{":
            match = COUNT.match(self.pattern, self.place)
            if match is None:
                self._refuse("a { that counts nothing")
            least = int(match[1])
            most = least if match[2] is None else None if match[3] is None else int(match[3])
            if most is not None and most < least:
                self._refuse("a count that ends before it begins")
            self.place = match.end()
        else:
            (least, most), self.place = limits[sign], self.place + 1
        if isinstance(part, Edge):
            self._refuse("an edge that repeats")
        if self._next() == "?":
            self.place += 1  # takes as little as it can: the same texts
        if self._next() in ("*", "+", "?", "{") and self._next():
            self._refuse("a repeat of a repeat")
        return Repeat(part, least, most)

    def _atom(self) -> Expression:
        sign = self._take()
        if sign == "(":
            return self._group()
        if sign == "[":
            return OneOf(self._class())
        if sign == ".":
            return OneOf(DOT)
        if sign in "^$":
            return Edge("start" if sign == "^" else "end")
        if sign == "\\":
            if self._next() in ("A", "Z"):
                return Edge("start" if self._take() == "A" else "end")
            return OneOf(self._escape())
        if sign in "*+?{":
            self.place -= 1
            self._refuse(f"a {sign} after nothing")
        return OneOf(self._one(sign))

    def _group(self) -> Expression:
        if self._next() == "?":
            match = GROUP.match(self.pattern, self.place)
            if match is None:
                self._refuse("look-around, or a flag,")
            self.place = match.end()
        self.depth += 1
        if self.depth > DEEPEST:
            self._refuse(f"a group inside {DEEPEST} others")
        found = self._choice()
        if self._next() != ")":
            self._refuse("a ( without its )")
        self.place, self.depth = self.place + 1, self.depth - 1
        return found

    def _one(self, character: str) -> Ranges:
        code = ord(character)
        if SURROGATES[0] <= code <= SURROGATES[1]:
            self._refuse("half a character")
        return ((code, code),)

    def _escape(self, *, surely: bool = True) -> Ranges:
        """What an escape matches in every dialect, or else what it matches in some."""
        sign = self._take()
        if sign.lower() in NARROW:
            inside = surely == sign.islower()
            found = NARROW[sign.lower()] if inside else wide(sign.lower())
            return found if sign.islower() else complement(found)
        if sign in HEX:
            digits = self.pattern[self.place : self.place + HEX[sign]]
            if not re.fullmatch(f"[0-9A-Fa-f]{{{HEX[sign]}}}", digits) or int(digits, 16) > LAST:
                self._refuse(f"\\{sign} without a character's number")
            self.place += HEX[sign]
            return self._one(chr(int(digits, 16)))
        if sign == "0" and self._next().isdigit():
            self._refuse("an octal number")
        if sign not in SIGNS and (sign.isalnum() or sign == "_"):
            self._refuse(f"\\{sign}")
        return self._one(SIGNS.get(sign, sign))

    def _class(self) -> Ranges:
        """The characters of a set in brackets."""
        negated = self._next() == "^"
        self.place += negated
        if self._next() == "]":
            self._refuse("an empty set")
        parts: list[Ranges] = []
        while self._next() != "]":
            part = self._member(surely=not negated)
            if self._next() == "-" and self.pattern[self.place + 1 : self.place + 2] != "]":
                self.place += 1
                end = self._member(surely=not negated)
                single = all(len(one) == 1 and one[0][0] == one[0][1] for one in (part, end))
                if not single or end[0] < part[0]:
                    self._refuse("a range that does not go from a character to a later one")
                part = ((part[0][0], end[0][0]),)
            parts.append(part)
        self.place += 1
        return complement(union(*parts)) if negated else union(*parts)

    def _member(self, *, surely: bool) -> Ranges:
        sign = self._take()
        if sign != "\\":
            return self._one(sign)
        if self._next() == "b":
            self.place += 1
            return self._one("\b")
        return self._escape(surely=surely)
