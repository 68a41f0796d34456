"""A result made from files: made once, made again after any change, never read half."""

import os
from pathlib import Path

import pytest

from orrery import cache
from orrery.cache import made_from
from orrery.errors import OrreryError


@pytest.fixture
def kept(tmp_path: Path, monkeypatch) -> Path:
    """The cache's folder."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(cache, "cache_folder", lambda _: folder)
    return folder


class Maker:
    """Counts how often it is asked."""

    def __init__(self, result: object) -> None:
        self.result, self.count = result, 0

    def __call__(self) -> object:
        self.count += 1
        return self.result


def ask(source: Path, make: Maker) -> object:
    return made_from([source], "test", source.parent, make)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_text("one")
    return file


@pytest.mark.parametrize("result", [None, [], {"a": ["流形", 1.5, None]}, "text\nwith lines"])
def test_what_was_made_comes_back(kept, source, result):
    make = Maker(result)
    assert [ask(source, make) for _ in range(3)] == [result] * 3
    assert make.count == 1


def test_any_change_of_a_file_makes_it_anew(kept, source):
    make = Maker(1)
    ask(source, make)
    source.write_text("two")  # the same size
    ask(source, make)
    before = source.stat()
    source.write_text("six")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # and the same time of change
    ask(source, make)
    made_from([source, *source.parent.glob("cach*")], "test", source.parent, make)
    assert make.count == 4


def test_a_damaged_or_cut_cache_is_noticed(kept, source):
    ask(source, Maker({"value": "kept"}))
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    for place in range(0, len(whole), 11):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        ):
            file.write_bytes(damaged)
            assert ask(source, Maker("made anew")) == "made anew"


def test_an_error_passes_through_and_leaves_nothing(kept, source):
    def fail() -> object:
        raise OrreryError("wrong")

    with pytest.raises(OrreryError, match="wrong"):
        made_from([source], "test", source.parent, fail)
    assert not list(kept.iterdir())


def test_a_cache_that_cannot_be_written_only_costs_time(kept, source):
    (kept / "in the way").mkdir()
    file = next(iter(kept.iterdir()))
    name = cache._cache_file("test", source.parent)
    assert name is not None
    file.rename(name)  # a folder where the file should go
    make = Maker(1)
    assert ask(source, make) == ask(source, make) == 1
    assert make.count == 2
