import re
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.theory import context_mixing
from orrery.systems.theory.bit_history import follow
from orrery.systems.theory.context_memory import MIXING, PRIME, bits_known, scramble
from orrery.systems.theory.context_mixing import ContextMixing
from orrery.systems.theory.lm_compressor import decode, encode
from orrery.systems.theory.logistic_mixing import SQUASH, STRETCH, straight_curves

TEXT = (
    b"def area(width, height):\n    return width * height\n\n"
    b"def volume(width, height, depth):\n    return area(width, height) * depth\n"
    b'"""In the beginning the Word was with God; \xe4\xb8\xad\xe6\x96\x87 too."""\n' * 2
)


class Naive:
    """The same model from its description: contexts read off the text, memory in dictionaries."""

    def __init__(self):
        self.past, self.match, self.length = b"", 0, 0
        self.nodes = defaultdict(lambda: [2**15, (0, 0)])
        self.chances = defaultdict(dict)
        self.trust = defaultdict(lambda: [2**21, 0])
        self.weights = defaultdict(lambda: [8192] * 24)
        self.final = defaultdict(lambda: [21845] * 3)
        curve = straight_curves(1)[0].tolist()
        self.curves = defaultdict(curve.copy)

    def contexts(self):
        past = b"\0" * 8 + self.past
        yield from (past[-order:] for order in range(1, 7))
        words = re.findall(rb"[A-Za-z0-9_\x80-\xff]+", b" " + self.past)
        words = [bytes(byte | 32 for byte in word) for word in words]
        inside = bool(words) and bool(re.search(rb"[A-Za-z0-9_\x80-\xff]\Z", self.past))
        word, one, two = [*[b""] * 3, *words, *[b""] * (not inside)][:-4:-1]
        yield from (word, (word, one), (word, two, past[-1]))
        lines = self.past.split(b"\n")
        line = lines[-1]
        above = lines[-2] + b"\n" if len(lines) > 1 else b""
        yield (len(line), above[len(line)] if len(line) < len(above) else 0)
        rest = line.lstrip(b" ")
        yield (len(line) - len(rest), rest[:1], word)

    def byte(self, byte):
        """Predict and learn the eight bits of a byte; the chances given to a 1."""
        contexts = list(enumerate(self.contexts()))
        said = []
        for place in range(8):
            bits = f"{byte:08b}"
            said.append(self.bit(contexts, bits[:place], int(bits[place])))
        self.past += bytes([byte])
        if self.length and self.past[self.match] == byte:
            self.match, self.length = self.match + 1, min(self.length + 1, 400)
        else:
            self.length = 0
            found = self.past.rfind(self.past[-7:], 0, -1) if len(self.past) > 7 else -1
            if found >= 0:
                self.match = found + 7
                while self.length < min(self.match, 400) and (
                    self.past[self.match - 1 - self.length] == self.past[-1 - self.length]
                ):
                    self.length += 1
        return said

    def bit(self, contexts, known, bit):
        partial, place = int("1" + known, 2), len(known)
        half = known if place < 4 else (known[:4], known[4:])
        nodes = [self.nodes[context, half] for context in contexts]
        cells = []
        for i, (_, (zeros, ones)) in enumerate(nodes):
            guess = 2**22 * (5 * ones + 2) // (5 * (zeros + ones) + 4)
            cells.append(self.chances[i].setdefault((zeros, ones), [guess, 0]))
        inputs = []
        for (chance, history), cell in zip(nodes, cells, strict=True):
            seen = history != (0, 0)
            inputs += [STRETCH[cell[0] >> 10] if seen else 0, STRETCH[chance >> 4] if seen else 0]
        expected = f"{self.past[self.match]:08b}" if self.length else ""
        length = self.length if expected.startswith(known) else 0
        length = length if length < 16 else min(63, 12 + length // 4)
        right = length and (1 if expected[place] == "1" else -1)
        inputs += [right * STRETCH[self.trust[length][0] >> 10] if length else 0, 256]
        rows = [("partial", partial), ("last", self.past[-1:] or b"\0", place)]
        rows.append(("match", 1 + length // 4 if length else 0, place))
        opinions = [self.mix(self.weights[row], inputs) for row in rows]
        odds = self.mix(self.final[partial], opinions)
        tail = int.from_bytes((b"\0\0\0" + self.past)[-3:], "big")
        hashed = (tail * int(PRIME) + partial * int(MIXING)) % 2**64 >> 48  # these may collide
        curves = [hashed, (expected if length else "", partial)]
        at = min(max(odds, -2559), 2559) + 2560
        bent = 0
        for curve in curves:
            low, high = self.curves[curve][at // 160 : at // 160 + 2]
            bent += (low * (160 - at % 160) + high * (at % 160)) // 160
        answer = min(max((2 * int(SQUASH[odds + 3071]) + bent + 2) >> 2, 1), 65535)

        rate = 8 + 1_600_000 // (20000 + len(self.past))
        for row, opinion in zip(rows, opinions, strict=True):
            error = ((bit << 16) - int(SQUASH[opinion + 3071])) * rate
            self.weights[row] = self.corrected(self.weights[row], inputs, error, 21)
        error = (bit << 16) - int(SQUASH[odds + 3071])
        self.final[partial] = self.corrected(self.final[partial], opinions, error, 18)
        for curve in curves:
            knot = (at + 80) // 160
            self.curves[curve][knot] += (65535 * bit - self.curves[curve][knot]) >> 6
        for cell in cells:
            self.learn(cell, bit, 255)
        for node in nodes:
            node[0] += ((65535 * bit - node[0]) * (2**17 // (2 * min(30, sum(node[1])) + 3))) >> 16
            node[1] = follow(node[1], bit)
        if length:
            self.learn(self.trust[length], int(expected[place] == str(bit)), 1000)
        return answer

    def mix(self, weights, inputs):
        total = sum(int(w) * int(x) for w, x in zip(weights, inputs, strict=True))
        return min(max(total >> 16, -3071), 3071)

    def corrected(self, weights, inputs, error, shift):
        half = 1 << (shift - 1)
        pairs = zip(weights, inputs, strict=True)
        return [w + ((int(x) * error + half) >> shift) for w, x in pairs]

    def learn(self, cell, bit, slowest):
        cell[0] += (((bit << 22) - cell[0]) * (2**17 // (2 * cell[1] + 3))) >> 16
        cell[1] = min(cell[1] + 1, slowest)


def test_every_chance_is_that_of_the_naive_model():
    naive, model = Naive(), ContextMixing(2**20)  # so roomy that no context loses its bucket
    for byte in TEXT:
        said = naive.byte(byte)
        for place in range(8):
            assert context_mixing.predict(model.memory) == said[place], model.memory.now["position"]
            context_mixing.learn(model.memory, byte >> (7 - place) & 1)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_decoding_gives_the_bytes_back(data):
    code = ContextMixing(len(data)).encode(data)
    assert ContextMixing(len(data)).decode(code, len(data)) == data


def test_the_compiled_loop_writes_what_the_general_coder_writes():
    code = ContextMixing(len(TEXT)).encode(TEXT)
    assert code == encode(TEXT, ContextMixing(len(TEXT)))
    assert decode(code, len(TEXT), ContextMixing(len(TEXT))) == TEXT


def test_what_was_read_before_makes_the_code_shorter_and_is_needed_to_decode_it():
    first, second = ContextMixing(400), ContextMixing(400)
    first.read(TEXT[:200])
    second.read(TEXT[:200])
    code = first.encode(TEXT[:200])
    assert len(code) < 0.2 * len(ContextMixing(200).encode(TEXT[:200]))
    assert second.decode(code, 200) == TEXT[:200]


def test_random_bytes_do_not_become_shorter_and_zeros_all_but_vanish():
    noise = np.random.default_rng(0).bytes(20_000)
    assert 0 <= len(ContextMixing(20_000).encode(noise)) - 20_000 < 400
    assert len(ContextMixing(50_000).encode(bytes(50_000))) < 60


def test_more_bytes_than_it_was_made_for_are_refused():
    model = ContextMixing(3)
    model.read(b"abc")
    for use in (model.read, model.encode, lambda b: model.decode(b, 1)):
        with pytest.raises(ValueError, match="size=3 bytes, 4 came"):
            use(b"x")
    for size in (-1, 2**30 + 1):
        with pytest.raises(ValueError, match=r"size must be in \[0, 2\^30\] bytes"):
            ContextMixing(size)


def test_hashes_are_told_apart_and_bits_are_counted():
    words = np.arange(1000, dtype=np.uint64)
    assert len({int(scramble(word)) % 2**20 for word in words}) > 990
    assert [bits_known(partial) for partial in (1, 2, 3, 127, 128, 255)] == [0, 1, 1, 6, 7, 7]
