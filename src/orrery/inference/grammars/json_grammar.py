"""A JSON Schema as a grammar: whatever is written by it is JSON, and fits the schema.

Values are written without white space, but one space may follow a comma or a colon. Properties come
in the schema's order, those that are not required may be left out, and others that are allowed come
last. Numbers have a bounded number of digits.

Source: JSON Schema 2020-12, Core and Validation; RFC 8259 for the text.
Differs from the sources: not every spelling of a value can be written; a greatest length above
`LONGEST` is held to that.
"""

import json
from collections.abc import Mapping
from typing import Any

from orrery.errors import UsageError
from orrery.inference.grammars import json_numbers, json_strings
from orrery.inference.grammars.grammar import Grammar
from orrery.inference.grammars.grammar_nodes import END, Nodes
from orrery.inference.grammars.json_schema import SchemaReader, kind_of, kinds, step_to
from orrery.inference.grammars.json_schema_merge import merged, refuse

LONGEST = 4096
"""Most characters of a string, and most items of an array, where a schema counts them."""
NAMES = 10_000
"""Most characters of the names of an object's properties, together."""


def grammar(schema: object, *, additional: bool = True) -> Grammar:
    """The grammar of a schema.

    Args:
        schema: as `json.loads` gives it.
        additional: objects whose schema does not say so may have further properties.

    Raises:
        UsageError: it is not supported, or no value fits it.
    """
    return JsonRules(schema, additional=additional).grammar()


def read(text: str, *, additional: bool = True) -> Grammar:
    """The grammar of a schema that is written down.

    Raises:
        UsageError: it is no JSON, is not supported, or no value fits it.
    """
    try:
        schema = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise UsageError("the schema is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"the schema is no JSON: {error}") from None
    return grammar(schema, additional=additional)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


class JsonRules:
    """The rules of one schema; those that refer to one another are made one after the other."""

    def __init__(self, schema: object, *, additional: bool) -> None:
        self.reader, self.additional = SchemaReader(schema), additional
        self.nodes = Nodes()
        self._rules, self._leaves = dict[object, int](), dict[object, int]()
        self._todo = list[tuple[int, object, str]]()
        self._kept = list[object]()  # what has a rule lives on, so that its id stays its own

    def grammar(self) -> Grammar:
        """The whole.

        Raises:
            UsageError: the schema is not supported, or no value fits it.
        """
        start = self.rule(self.reader.root, "#")
        while self._todo:
            node, schema, pointer = self._todo.pop()
            try:
                self._fill(node, schema, pointer)
            except UsageError as error:
                if str(error).startswith("schema at "):
                    raise
                refuse(pointer, str(error))
            except RecursionError:
                refuse(pointer, "it is nested too deeply")
        try:
            return Grammar(self.nodes, start)
        except UsageError as error:
            raise UsageError(f"the schema cannot be met: {error}") from None

    def rule(self, schema: object, pointer: str) -> int:
        """The node before a value that fits a schema; two that are merged again are known again."""
        key: object = id(schema)
        if isinstance(schema, dict) and schema.keys() == {"allOf"}:
            parts = schema["allOf"]
            key = tuple(map(id, parts)) if isinstance(parts, list) else key
        if key not in self._rules:
            self._rules[key] = node = self.nodes.node()
            self._kept.append(schema)
            self._todo.append((node, schema, pointer))
        return self._rules[key]

    def _fill(self, node: int, schema: object, pointer: str) -> None:
        flat = self.reader.flat(schema, pointer)
        if isinstance(flat, bool):
            flat = {} if flat else {"enum": []}
        if "anyOf" in flat:
            rest = {name: value for name, value in flat.items() if name != "anyOf"}
            for i, branch in enumerate(flat["anyOf"]):
                where = f"{pointer}/anyOf/{i}"
                if rest:
                    branch = merged(rest, self.reader.flat(branch, where), where)
                self.nodes.silent[node].append(self.rule(branch, where))
            return
        if "enum" in flat:
            self.nodes.silent[node].append(self._values(flat, pointer))
            return
        named = kinds(flat)
        for kind in named:
            if kind != "integer" or "number" not in named:
                self.nodes.silent[node].append(self._of_kind(kind, flat, pointer))

    def _values(self, flat: Mapping[str, Any], pointer: str) -> int:
        """The node before any of the values that are listed."""
        beside = sorted(flat.keys() - {"enum", "type"})
        if beside:
            refuse(pointer, f"{beside[0]} beside enum or const is not supported")
        named, texts = kinds(flat), list[bytes]()
        for value in flat["enum"]:
            if kind_of(value) in named or (kind_of(value) == "integer" and "number" in named):
                try:
                    texts.append(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
                except (ValueError, RecursionError):
                    refuse(pointer, "a value of enum or const cannot be written as JSON")
        return self.nodes.words(dict.fromkeys(texts), END)

    def _of_kind(self, kind: str, flat: Mapping[str, Any], pointer: str) -> int:
        if kind == "array":
            return self._array(flat, pointer)
        if kind == "object":
            return self._object(flat, pointer)
        key: tuple[str, *tuple[Any, ...]] = (kind,)
        if kind == "string":
            limits = self._limits(flat, "Length", pointer)
            patterns = flat.get("pattern", ())
            patterns = (patterns,) if isinstance(patterns, str) else patterns
            key = (kind, *limits, patterns, flat.get("format"))
        elif kind in ("integer", "number"):
            low, strict_low = json_numbers.bound(flat, "inimum", max)
            high, strict_high = json_numbers.bound(flat, "aximum", min)
            key = (kind, low, high, strict_low, strict_high)
        if key not in self._leaves:
            self._leaves[key] = self._leaf(*key)
        return self._leaves[key]

    def _leaf(self, kind: str, *of: Any) -> int:
        if kind == "null":
            return self.nodes.literal(b"null", END)
        if kind == "boolean":
            return self.nodes.words((b"true", b"false"), END)
        if kind == "string":
            least, most, patterns, form = of
            if not patterns and form is None:
                if "character" not in self._leaves:
                    self._leaves["character"] = json_strings.character(self.nodes)
                return json_strings.free(self.nodes, self._leaves["character"], least, most)
            return json_strings.matching(self.nodes, least, most, patterns, form)
        low, high, *strict = of
        make = json_numbers.numbers if kind == "number" else json_numbers.integers
        return make(self.nodes, low, high, strict=(strict[0], strict[1]))

    def _limits(self, flat: Mapping[str, Any], of: str, pointer: str) -> tuple[int, int | None]:
        least, most = int(flat.get(f"min{of}", 0)), flat.get(f"max{of}")
        if least > LONGEST:
            refuse(pointer, f"min{of} is {least}; at most {LONGEST} is supported")
        return least, None if most is None else min(int(most), LONGEST)

    def _space(self, sign: bytes, after: int) -> int:
        """The node before a comma or a colon, and a space if one likes."""
        space = self.nodes.node(after, edges=((32, 32, after),))
        return self.nodes.literal(sign, space)

    def _array(self, flat: Mapping[str, Any], pointer: str) -> int:
        nodes, close = self.nodes, self.nodes.literal(b"]", END)
        first = flat.get("prefixItems", [])
        least, most = self._limits(flat, "Items", pointer)
        if most is not None and most < least:
            return nodes.node()
        last = max(len(first), least) if most is None else most
        items = self.rule(flat.get("items", True), f"{pointer}/items")
        rules = [self.rule(one, f"{pointer}/prefixItems/{i}") for i, one in enumerate(first)]
        after = nodes.node(
            close
        )  # `last` items are written, and more may be if nothing counts them
        if most is None:
            comma = self._space(b",", nodes.call(items, after))
            nodes.silent[after].append(comma)
        begin = nodes.call(items, after) if most is None else 0
        for i in range(last - 1, -1, -1):
            item = nodes.call(rules[i] if i < len(rules) else items, after)
            if i == 0:
                begin = item
                break
            after = nodes.node(*([close] if i >= least else []), self._space(b",", item))
        ways = ([begin] if begin else []) + ([close] if least == 0 else [])
        return nodes.literal(b"[", nodes.node(*ways))

    def _object(self, flat: Mapping[str, Any], pointer: str) -> int:
        nodes, close = self.nodes, self.nodes.literal(b"}", END)
        properties, required = flat.get("properties", {}), set(flat.get("required", []))
        more = flat.get("additionalProperties", self.additional)
        where = f"{pointer}/additionalProperties"
        members = {k: (v, f"{pointer}/properties/{step_to(k)}") for k, v in properties.items()}
        members |= {k: (more, where) for k in flat.get("required", []) if k not in properties}
        if sum(map(len, members)) > NAMES:
            refuse(pointer, f"the names of properties have more than {NAMES} characters")
        following, first = nodes.node(close), nodes.node(close)
        if more is not False:
            value = nodes.call(self.rule(more, where), following)
            pair = self._other(tuple(members), self._space(b":", value), pointer)
            nodes.silent[following].append(self._space(b",", pair))
            nodes.silent[first].append(pair)
        for name, (schema, place) in reversed(members.items()):
            value = nodes.call(self.rule(schema, place), following)
            pair = nodes.literal(_name(name, place), self._space(b":", value))
            may_miss = name not in required
            following = nodes.node(self._space(b",", pair), *([following] if may_miss else []))
            first = nodes.node(pair, *([first] if may_miss else []))
        return nodes.literal(b"{", first)

    def _other(self, names: tuple[str, ...], after: int, pointer: str) -> int:
        for name in names:
            _name(name, pointer)
        return json_strings.other(self.nodes, names, after)


def _name(name: str, pointer: str) -> bytes:
    try:
        return json.dumps(name, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        refuse(pointer, "a name has half a character")
