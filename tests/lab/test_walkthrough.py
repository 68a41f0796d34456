"""Cutting, colouring and watching source files, and notes that no longer fit them."""

import base64
import io
import re
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orrery.catalog import PACKAGE
from orrery.errors import OrreryError
from orrery.lab.walkthrough.annotated import note_html
from orrery.lab.walkthrough.highlight import highlight
from orrery.lab.walkthrough.live import LiveValues
from orrery.lab.walkthrough.notes import PieceNote, notes_of, stretches
from orrery.lab.walkthrough.pieces import pieces
from orrery.lab.walkthrough.thumbnail import HIGH, LOW, thumbnail

FILE = Path("some.py")
CODE = '''"""What it is."""

import os
from math import pi

# The sizes.
SIZE = 2
"""How large."""

Pair = tuple[int, int]


@staticmethod
def first(pair):
    """The first."""
    return pair[0] if pair else f"<{SIZE} & more>"


class Both:
    """Head."""

    field: int = SIZE

    # Comes with the method.
    @property
    def one(self): return self.two()

    def two(self):
        text = """two
        lines"""
        return first(text)
'''
SOURCES = sorted(PACKAGE.glob("nn/*.py")) + sorted(PACKAGE.glob("systems/language/*.py"))


def test_pieces_in_the_order_of_reading():
    found = pieces(CODE, FILE)
    assert [one.name for one in found] == [
        "docstring", "imports", "SIZE", "first", "Both", "Both.one", "Both.two",
    ]  # fmt: skip
    lines = CODE.splitlines()
    assert [lines[one.first - 1].strip() for one in found] == [
        '"""What it is."""', "import os", "# The sizes.", "@staticmethod", "class Both:",
        "# Comes with the method.", "def two(self):",
    ]  # fmt: skip
    assert found[2].names == ("SIZE", "Pair")


@pytest.mark.parametrize("file", SOURCES[::7], ids=lambda file: file.stem)
def test_every_line_is_in_one_piece_and_colours_change_no_letter(file):
    text = file.read_text("utf8")
    found = pieces(text, file)
    lines = [line for one in found for line in range(one.first, one.last + 1)]
    assert lines == list(range(1, len(text.splitlines()) + 1))
    coloured = [unescape(re.sub(r"<[^>]+>", "", line)) for line in highlight(text, lambda *_: "#")]
    assert coloured == text.splitlines()


def test_colours_and_links():
    links = {"first": "#first", "SIZE": "#size", "self.two": "#two", "two": "#wrong"}
    html = "\n".join(highlight(CODE, lambda name, _: links.get(name, "")))
    assert html.count('<a href="#first">first</a>') == 1, "not where it is defined"
    assert '<a href="#two">two</a>()' in html
    assert "#wrong" not in html
    assert '<span class="k">class</span> <span class="d">Both</span>' in html
    assert '<span class="c"># The sizes.</span>' in html
    assert "<{" not in html


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        (["nowhere"], "'nowhere' stands on 0"),
        (["t"], "'t' stands on 3"),
        (["return first", "text ="], "follow the order"),
    ],
)
def test_a_note_that_does_not_fit_is_refused(at, fault):
    piece = pieces(CODE, FILE)[-1]
    note = PieceNote.model_validate({
        "piece": piece.name, "en": "a", "zh": "甲",
        "lines": [{"at": words, "en": "b", "zh": "乙"} for words in at],
    })  # fmt: skip
    with pytest.raises(OrreryError, match=fault):
        stretches(piece, note, CODE.splitlines(), "en")


def test_notes_cut_a_piece_and_docstrings_stand_in():
    piece = pieces(CODE, FILE)[-1]
    note = PieceNote.model_validate({
        "piece": piece.name, "en": "a", "zh": "甲",
        "lines": [{"at": "return", "en": "b", "zh": "乙"}],
    })  # fmt: skip
    head, tail = stretches(piece, note, CODE.splitlines(), "zh")
    assert (head.note, tail.note) == ("甲", "乙")
    assert (head.first, head.last + 1, tail.last) == (piece.first, tail.first, piece.last)
    (bare,) = stretches(pieces(CODE, FILE)[3], None, CODE.splitlines(), "zh")
    assert bare.note == "The first."


@pytest.mark.parametrize(
    "text",
    [
        "- piece: a\n  en: b",
        "- {piece: a, en: b, zh: c, more: d}",
        "a: [",
        "- {piece: a, en: b, zh: ''}",
        "- {piece: a, en: b, zh: c}\n- {piece: a, en: b, zh: c}",
    ],
)
def test_wrong_files_of_notes_are_refused(tmp_path, text):
    (tmp_path / "some.yaml").write_text(text, encoding="utf8")
    with pytest.raises(OrreryError, match=r"some\.yaml: "):
        notes_of("some", tmp_path)
    assert notes_of("other", tmp_path) == {}


def test_notes_are_text_and_code():
    assert note_html("see `a<b`, not <i>\n\nnext ` one") == [
        "see <code>a&lt;b</code>, not &lt;i&gt;", "next ` one",
    ]  # fmt: skip


WATCHED = """
from torch import nn
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 2)
    def forward(self, x):
        for _ in range(3):
            x = (
                x + 1
            )
        x *= 2
        return self.layer(x)
"""


def test_lines_are_watched_while_they_run(tmp_path):
    file = tmp_path / "watched_model.py"
    file.write_text(WATCHED)
    sys.path.insert(0, str(tmp_path))
    try:
        from watched_model import Model
    finally:
        sys.path.remove(str(tmp_path))
    before, live = sys.gettrace(), LiveValues([file])
    with live:
        model = Model(4)
        given = torch.zeros(1, 4)
        out = model(given.clone())
    assert sys.gettrace() is before
    seen = {place[1]: {v.name: v.value for v in values} for place, values in live.seen.items()}
    torch.testing.assert_close(seen[6]["self.layer.weight"], model.layer.weight.detach())
    torch.testing.assert_close(seen[7]["x"], given)
    torch.testing.assert_close(seen[11]["x"], given + 1)  # the first of three runs
    torch.testing.assert_close(seen[12]["x"], 2 * (given + 3))  # in place
    torch.testing.assert_close(seen[13][""], out.detach())
    assert live.runs[str(file), 11] == 3
    model(given)
    assert live.runs[str(file), 7] == 1, "nothing is recorded afterwards"


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6))
def test_pictures_are_white_at_zero(row):
    matrix = np.array([[0.0, *row]])
    address = thumbnail(matrix)
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    pixels = np.asarray(picture).astype(int)
    assert tuple(pixels[0, 0]) == (250, 250, 250)
    most = np.abs(matrix[0]).argmax()
    expected = {0: (250, 250, 250), 1: HIGH, -1: LOW}[int(np.sign(matrix[0, most]))]
    assert tuple(pixels[0, most]) == expected
