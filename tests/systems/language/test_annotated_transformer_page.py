"""The page: every line once, nothing from elsewhere, true numbers, notes in both languages."""

import re
from html.parser import HTMLParser

import pytest
import torch

from orrery.catalog import PACKAGE, root, systems
from orrery.lab.walkthrough.annotated import follow, watch_transformer, write_annotated
from orrery.lab.walkthrough.notes import ANNOTATIONS, notes_of
from orrery.systems.language.annotated_transformer import walk

SYSTEM = systems()["transformer"]


class Page(HTMLParser):
    """What a page shows: the text of elements with an id, its addresses, tags and tables."""

    def __init__(self, html):
        super().__init__()
        self.lines, self.ids, self.addresses, self.tags, self.texts = {}, [], [], [], []
        self._line = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self.addresses += [v for k, v in attributes.items() if k in ("href", "src", "srcset")]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if attributes.get("class") == "l":
            self._line = attributes["id"]
            assert self._line not in self.lines
            self.lines[self._line] = ""

    def handle_data(self, data):
        self.texts.append(data.strip())
        if self._line is not None:
            self.lines[self._line] += data.removesuffix("\n")
            if data.endswith("\n"):
                self._line = None


@pytest.fixture(scope="module")
def learned():
    return walk(steps=10)


@pytest.fixture(scope="module")
def watched(learned):
    return watch_transformer(learned)


@pytest.fixture(scope="module", params=["en", "zh"])
def shown(request, watched):
    html = write_annotated(SYSTEM, request.param, watched)
    return html, Page(html)


def test_every_line_stands_there_once(shown):
    _, page = shown
    sources = follow("systems.language.transformer")
    modules = [source.module for source in sources]
    assert modules[0] == "systems.language.transformer"
    assert {"nn.attention", "nn.multi_head", "nn.sinusoidal", "nn.post_norm"} <= set(modules)
    expected = {
        f"{source.module}:{n}": line
        for source in sources
        for n, line in enumerate(source.file.read_text("utf8").splitlines(), 1)
    }
    assert page.lines == expected
    assert list(page.lines)[: len(sources[0].text.splitlines())][-1].startswith(modules[0])


def test_nothing_comes_from_elsewhere_and_nothing_runs(shown):
    html, page = shown
    assert html.startswith("<!doctype html>")
    assert all(one.startswith(("#", "data:image/png;base64,")) for one in page.addresses)
    assert {one.removeprefix("#") for one in page.addresses if one[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [k for _, attributes in page.tags for k in attributes if k.startswith("on")]
    assert not re.search(r"url\(|@import", html)
    assert all(given.get("alt") for tag, given in page.tags if tag == "img")


def test_names_lead_to_where_they_are_defined(shown):
    html, _ = shown
    for name, place in {
        "MultiHeadAttention": "nn.multi_head.MultiHeadAttention",
        "attention_weights": "nn.attention.attention_weights",
        "project": "nn.multi_head.MultiHeadAttention.project",
        "embedded": "systems.language.transformer.Transformer.embedded",
    }.items():
        assert f'<a href="#{place}">{name}</a>' in html


def test_the_numbers_are_the_models(shown, learned):
    html, _ = shown
    maps = learned.model(learned.source, learned.target, maps=True).maps
    piece = html[html.index('id="nn.attention.attention_weights"') :]
    rows = re.findall(r"<tr><th scope=\"row\">(\S+)</th>((?:<td>[^<]+</td>)+)</tr>", piece)
    tables = [
        torch.tensor([[float(n) for n in re.findall(r"<td>(.+?)</td>", cells)]
                      for _, cells in rows[start : start + 8]])
        for start in range(len(rows) - 7)
        if rows[start][0] == "&lt;start&gt;" and rows[start][1].count("<td>") == 7
    ]  # fmt: skip
    first = maps[0][0, 0].detach()
    close = [table for table in tables if torch.allclose(table, first, atol=0.00501)]
    assert close, "the weights of the first head stand on the page"
    torch.testing.assert_close(close[0].sum(dim=1), torch.ones(8), atol=0.04, rtol=0)
    assert learned.text(learned.run()[0]) in html


@pytest.mark.parametrize("source", follow("systems.language.transformer"), ids=lambda s: s.module)
def test_every_piece_has_its_note(source):
    notes = notes_of(source.module)
    names = [piece.name for piece in source.pieces]
    assert sorted(set(notes) - set(names)) == [], "notes on what is not there"
    bare = [p.name for p in source.pieces if p.name not in notes and not p.docstring]
    assert bare == []
    if source.module == "systems.language.transformer":
        assert [name for name in names if name not in notes] == []
    for note in notes.values():
        for one in (note, *note.lines):
            assert not re.search(r"[一-鿿]", one.en)
            assert re.search(r"[一-鿿]", one.zh)


def test_notes_are_of_files_that_exist():
    for file in ANNOTATIONS.rglob("*.yaml"):
        assert (PACKAGE / file.relative_to(ANNOTATIONS)).with_suffix(".py").is_file()


def test_any_other_system_can_be_shown():
    one = systems()["sinusoidal"]
    page = Page(write_annotated(one, "en"))
    assert list(page.lines.values()) == (root() / one.file).read_text("utf8").splitlines()
    assert not [tag for tag, _ in page.tags if tag == "img"], "nothing is run for it"
