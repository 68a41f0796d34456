"""Helpers of the tests of constrained decoding: a small vocabulary, and texts by chance."""

import numpy as np

from orrery.inference.grammars.grammar import Grammar
from orrery.inference.grammars.token_mask import TokenMasks
from orrery.inference.grammars.token_trie import TokenTrie

PIECES = (
    '{"',
    '":',
    '": ',
    '","',
    '", "',
    '"}',
    '"]',
    '"}}',
    "},",
    "],",
    "[{",
    "[[",
    "{}",
    "[]",
    '""',
    "12",
    "00",
    "-1",
    ".5",
    "1.5",
    "e1",
    "null",
    "true",
    "fal",
    "se",
    "the",
    " the",
    "ab",
    "abc",
    "aab",
    "é",
    "é a",
    "日本",
    "\\n",
    "\\u00",
    "\\ud8",
    "ud83d\\",
    '\\"',
    "\\\\",
    ", ",
    ": ",
    "2026-",
    "-0",
    "@a.",
    "\n",
)
END = 320
TOKENS = {i: bytes([i]) for i in range(256)} | {
    256 + i: piece.encode() for i, piece in enumerate(PIECES)
}
assert max(TOKENS) < END
TRIE = TokenTrie({**TOKENS, 321: b"the"}, 324)  # a second number for the same bytes


def drawn(grammar: Grammar, seed: int, spare: int, masks: TokenMasks | None = None) -> str:
    """A text of the grammar: every token as likely as any other that the mask allows."""
    masks = TokenMasks(grammar, TRIE, [END]) if masks is None else masks
    rng = np.random.default_rng(seed)
    most = len(masks.way(grammar.start)) + spare
    constraint, text = masks.begin(most), b""
    for _ in range(most):
        allowed = constraint.mask().numpy().nonzero()[0]
        assert len(allowed), text
        assert not {256 + len(PIECES), 322, 323} & set(allowed.tolist())
        token = int(rng.choice(allowed))
        assert (END in allowed) == constraint.complete
        constraint.advance(token)
        if token == END:
            assert constraint.ended
            break
        text += b"the" if token == 321 else TOKENS[token]
    assert constraint.complete
    assert grammar.accepts(text)
    return text.decode()
