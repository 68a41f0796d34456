"""`orrery.inference.grammars.code_points`: sets of characters and their UTF-8."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orrery.inference.grammars.code_points import ALL, LAST, complement, union, utf8, wide

SETS = st.lists(
    st.tuples(st.integers(0, LAST), st.integers(0, 70_000)).map(
        lambda both: (both[0], min(LAST, sum(both)))
    ),
    max_size=4,
)


def has(ranges, code):
    return any(low <= code <= high for low, high in ranges)


@given(SETS, st.integers(0, LAST))
def test_sets_are_joined_and_turned_round(ranges, code):
    joined = union(ranges)
    assert has(joined, code) == has(ranges, code)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(joined))
    surrogate = 0xD800 <= code < 0xE000
    assert has(complement(joined), code) == (not has(ranges, code) and not surrogate)


@given(SETS, st.characters(codec="utf-8"))
def test_the_bytes_are_those_of_the_characters(ranges, character):
    data = character.encode()
    fits = [
        len(product) == len(data)
        and all(low <= byte <= high for byte, (low, high) in zip(data, product, strict=True))
        for product in utf8(union(ranges))
    ]
    assert sum(fits) == has(ranges, ord(character))  # and none stands in two products


def test_all_is_all_that_utf8_can_write():
    count = 0
    for product in utf8(ALL):
        size = 1
        for low, high in product:
            size *= high - low + 1
        count += size
    assert count == LAST + 1 - 2048
    assert has(wide("d"), 0x663)
    assert has(wide("s"), 0xFEFF)
