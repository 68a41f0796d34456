"""Context memory against what a plain search through the text finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.theory.context_memory import (
    CONTEXTS,
    LONGEST,
    SHORTEST,
    begin_byte,
    end_byte,
    find_bucket,
    length_class,
    new_memory,
)
from orrery.systems.theory.context_mixing import FIELDS_OF_MODEL

REPETITIVE = st.lists(st.sampled_from([b"to be or not ", b"to be, ", b"\n  ", b"x"]), max_size=25)


def reader(size):
    memory = new_memory(size, FIELDS_OF_MODEL)
    begin_byte(memory)
    return memory


def read(memory, byte):
    memory.now["partial"] = 256 + byte
    end_byte(memory)
    begin_byte(memory)


def common_end(one, other):
    length = 0
    while length < min(len(one), len(other), LONGEST) and one[-1 - length] == other[-1 - length]:
        length += 1
    return length


@settings(max_examples=40, deadline=None)
@given(REPETITIVE)
def test_a_match_is_a_true_repeat_and_says_the_byte_that_followed_it(pieces):
    text = b"".join(pieces)
    memory = reader(len(text))
    for known, byte in enumerate(text, start=1):
        read(memory, byte)
        now, past = memory.now[0], text[:known]
        repeated = past.rfind(past[-SHORTEST:], 0, known - 1) >= 0 and known > SHORTEST
        if now["length"]:
            match = int(now["match"])
            assert SHORTEST <= now["length"] <= common_end(past, past[:match])
            assert now["expected"] == 256 + text[match]
        else:
            assert not repeated


def test_a_match_is_given_up_at_the_first_bit_that_is_wrong():
    memory = reader(40)
    for byte in b"to be or not to be o":
        read(memory, byte)
    assert chr(memory.now["expected"][0] & 255) == "r"
    for bit in range(1, 8):
        right = (256 + ord("r")) >> (8 - bit)
        memory.now["partial"] = right
        assert length_class(memory, bit) == memory.now["length"][0]
        memory.now["partial"] = right ^ 1
        assert length_class(memory, bit) == 0


def test_words_lines_and_columns_are_followed():
    memory = reader(40)
    for byte in b"ab cd\n  ef":
        read(memory, byte)
    now = memory.now[0]
    assert (now["line"], now["above"]) == (6, 0)
    assert now["opening"] == 2 * 256 + ord("e")  # indented by two, begun with an e
    hashes = set()
    for text in (b"ab cd", b"AB cd", b"ab ce", b"xb cd"):
        memory = reader(40)
        for byte in text:
            read(memory, byte)
        hashes.add(tuple(memory.now[name][0] for name in ("word", "word_1")))
    assert len(hashes) == 3  # capitals are the same word


def test_a_bucket_is_found_again_and_the_least_used_one_makes_room():
    memory = new_memory(0, FIELDS_OF_MODEL)
    keys = [np.uint64((mark << 40) | 5) for mark in range(1, 5)]  # one home, four marks
    homes = []
    for key, seen in zip(keys[:3], (9, 2, 7), strict=True):
        homes.append(find_bucket(memory.nodes, 0, key))
        memory.nodes[0, homes[-1], 1] = (1 << 31) | seen
    assert len(set(homes)) == 3
    assert [find_bucket(memory.nodes, 0, key) for key in keys[:3]] == homes
    assert find_bucket(memory.nodes, 0, keys[3]) == homes[1]
    assert memory.nodes[0, homes[1], 1] == 1 << 31


def test_sizes_are_refused_and_memory_grows_with_the_text():
    for size in (-1, 2**30 + 1):
        with pytest.raises(ValueError, match=r"size must be in \[0, 2\^30\] bytes"):
            new_memory(size, FIELDS_OF_MODEL)
    small, large = (new_memory(size, FIELDS_OF_MODEL).nodes for size in (100, 100_000))
    assert len(small) == len(large) == CONTEXTS
    assert large.shape[1] > small.shape[1]
