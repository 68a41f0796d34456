"""Text of many kinds for tests of tokenisers: English, Chinese, code, emoji and worse."""

import argparse
import json.decoder
import string
from pathlib import Path

from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf8")
PROSE = (ROOT / "LICENSE").read_text(encoding="utf8")
ENGLISH = (ROOT / "README.md").read_text(encoding="utf8")
CODE = Path(json.decoder.__file__).read_text(encoding="utf8")
LONG_CODE = Path(argparse.__file__).read_text(encoding="utf8")
ODD = (
    "I'll, we've; IT'S she'D 'ſ don’t\r\n\r\n\t  x  \n \u00a0\u3000 12345 ½Ⅷ四五 e\u0301\u0327 ﬁ"
    "\u2581"
    "👩‍👩‍👧‍👦🏳️‍🌈🇨🇳👍🏽 \U00020000\U0002a6df \x00\x01\x1f\x85 ₿∑≈ नमस्ते สวัสดี مرحبا שלום ß İ ς\ufffd"
)
MIXED = "\n".join([ENGLISH, CHINESE, CODE, ODD * 20, LONG_CODE[:40_000]])

PIECES = [
    " ", "  ", "\n", "\r", "\t", "'", "'s", "'LL", "ſ", "ve", "the", "King", " a", "ab", "1", "234",
    "½", "é", "e\u0301", "中文", "中", "😀", "👍🏽", "\U00020000", "!", "...", "-", "_", "#", "$",
    "\u00a0",
    "\u3000", "\x00", "\x1c", "\x85", "\u200d", "\u2581", "x" * 40, string.punctuation,
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    # Letters of Unicode 15 or before only: engines differ in what they know of newer ones.
    st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=30),
)
"""Texts that try a tokeniser: no surrogates, and no code point that is not assigned."""
