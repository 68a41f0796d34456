"""`orrery compress` and `orrery decompress`."""

import json

import pytest

from orrery.cli import compress, decompress
from orrery.cli.main import guarded
from orrery.errors import OrreryError, UsageError

TEXT = "To be, or not to be: that is the question. 生存还是毁灭，这是一个问题。\n" * 20


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "hamlet.txt"
    path.write_text(TEXT)
    return path


def test_there_and_back(text, capsys):
    assert compress.main([str(text)]) == 0
    packed = text.with_name("hamlet.txt.orz")
    assert packed.stat().st_size < len(TEXT.encode()) / 5
    assert str(packed) in capsys.readouterr().out
    text.unlink()
    assert decompress.main([str(packed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == len(TEXT.encode())
    assert text.read_text() == TEXT


def test_an_empty_file_has_a_compressed_form(tmp_path):
    (tmp_path / "empty").touch()
    assert compress.main([str(tmp_path / "empty")]) == 0
    assert decompress.main([str(tmp_path / "empty.orz"), "--to", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back").read_bytes() == b""


def test_no_file_is_ever_overwritten(text):
    assert compress.main([str(text)]) == 0
    for command, file in ((compress, text), (decompress, text.with_name("hamlet.txt.orz"))):
        with pytest.raises(OrreryError, match="exists; name another"):
            command.main([str(file)])


def test_damage_is_refused_and_nothing_written(text):
    assert compress.main([str(text)]) == 0
    packed = text.with_name("hamlet.txt.orz")
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(OrreryError, match="damaged or cut off"):
        decompress.main([str(packed), "--to", str(text.with_name("back"))])
    assert not text.with_name("back").exists()


def test_bad_usage_is_named(text, tmp_path, capsys):
    with pytest.raises(UsageError, match="no model 'mixin'; did you mean mixing"):
        compress.main([str(text), "--model", "mixin"])
    with pytest.raises(UsageError, match=r"does not end in \.orz"):
        decompress.main([str(text)])
    assert guarded(["compress", str(tmp_path / "nothing")]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert guarded(["compress", str(text), "--to", str(tmp_path / "no" / "file")]) == 1
    assert "there is no folder" in capsys.readouterr().err
