"""The reader, on a testament that is written here."""

import hashlib
import struct
import zlib

from orrery.data import sword
from orrery.data.fetch import folder
from tests.data.tiny import make_card

BOOK = (
    '<milestone n="Genesis" type="x-usfm-h"/>',
    '<chapter n="1" osisID="Gen.1" sID="Gen.1"/>',
    "<w>In the</w> beginning, God<note>Hebrew: Elohim</note>created",
    "<title>Of light</title>And there was <w>light</w>.",
    "",
    '<chapter n="2" osisID="Gen.2" sID="Gen.2"/>',
    "Thus the heavens",
)


def make(monkeypatch, home):
    monkeypatch.setenv("ORRERY_HOME", str(home))
    block, places = b"", b""
    for entry in BOOK:
        places += struct.pack("<IIH", 1, len(block), len(entry.encode()))
        block += entry.encode()
    packed = zlib.compress(block)
    blocks = struct.pack("<III", 0, 0, 0) + struct.pack("<III", 0, len(packed), len(block))
    files = {f"ot.{end}": content for end, content in
             (("bzs", blocks), ("bzv", places), ("bzz", packed))}  # fmt: skip
    files |= {f"nt.{end}": b"" for end in ("bzs", "bzv", "bzz")}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    card = make_card(sha256=digests)
    folder(card).mkdir(parents=True)
    for name, content in files.items():
        (folder(card) / name).write_bytes(content)
    return card


def test_entries_come_in_order(monkeypatch, tmp_path):
    card = make(monkeypatch, tmp_path)
    assert sword.entries(card, "ot") == [(1, entry) for entry in BOOK]
    assert sword.entries(card, "nt") == []


def test_chapters_have_their_verses_without_notes_titles_and_tags(monkeypatch, tmp_path):
    assert sword.chapters(make(monkeypatch, tmp_path)) == {
        "Gen.1": ["In the beginning, God created", "And there was light.", ""],
        "Gen.2": ["Thus the heavens"],
    }
