"""JSON Schemas by chance, of every keyword that is supported."""

from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "ab", "b", "k", "", 'q"\\', "né\n"])
PATTERNS = [
    "^a",
    "b$",
    "^[ab]{1,3}$",
    "\\d",
    "^(x|yz)+$",
    "é",
    '"',
    "^[^a]*$",
    "\\s\\w",
    "^\\\\+\n?$",
]
VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -3, 2.5, "", "a", 'x"', "é\n", 10**20]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=3,
)
NUMBERS = st.integers(-1200, 1200) | st.decimals(-99, 99, places=2).map(float)


def some(**keywords):
    """An object with any of these keywords."""
    return st.fixed_dictionaries({}, optional=keywords)


def bounds(kind):
    return some(
        minimum=NUMBERS, maximum=NUMBERS, exclusiveMinimum=NUMBERS, exclusiveMaximum=NUMBERS
    ).map(lambda found: {"type": kind, **dict(list(found.items())[:2])})


STRINGS = some(
    minLength=st.integers(0, 4), maxLength=st.integers(2, 6), pattern=st.sampled_from(PATTERNS)
).map(lambda found: {"type": "string", **found})
FORMATS = st.sampled_from(["date", "time", "date-time", "uuid", "ipv4", "email"]).map(
    lambda name: {"type": "string", "format": name}
)
LEAVES = st.one_of(
    st.sampled_from(
        [{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, True, {}]
    ),
    st.sampled_from([{"type": "integer"}, {"type": "number"}, {"title": "t", "type": "integer"}]),
    bounds("integer"),
    bounds("number"),
    STRINGS,
    FORMATS,
    VALUES.map(lambda value: {"const": value}),
    st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
)


def objects(inner):
    return some(
        properties=st.dictionaries(KEYS, inner, max_size=3),
        required=st.lists(KEYS, max_size=2, unique=True),
        additionalProperties=inner | st.booleans(),
    ).map(lambda found: {"type": "object", **found})


def arrays(inner):
    return some(
        items=inner,
        prefixItems=st.lists(inner, min_size=1, max_size=2),
        minItems=st.integers(0, 2),
        maxItems=st.integers(1, 3),
        uniqueItems=st.just(False),
    ).map(lambda found: {"type": "array", **found})


def tagged(inner):
    """A oneOf whose branches a property tells apart."""

    def branch(tag, schema):
        kind = {"k": {"const": tag}, "v": schema}
        return {"type": "object", "properties": kind, "required": ["k"]}

    return st.lists(inner, min_size=2, max_size=3).map(
        lambda found: {"oneOf": [branch(i, schema) for i, schema in enumerate(found)]}
    )


def more(inner):
    return st.one_of(
        objects(inner),
        arrays(inner),
        objects(inner),
        tagged(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
        st.lists(objects(inner), min_size=2, max_size=2).map(lambda found: {"allOf": found}),
        st.just({"$ref": "#/$defs/it"}),
    )


def schemas():
    """With a definition that may refer to itself."""
    inside = st.recursive(LEAVES, more, max_leaves=6)
    return st.tuples(inside, inside).map(lambda two: {"allOf": [two[0]], "$defs": {"it": two[1]}})
