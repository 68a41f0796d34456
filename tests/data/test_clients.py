"""Unpacking: the files of the card, from every kind of archive, and nothing else."""

import io
import shutil
import subprocess
import tarfile

import pytest

from orrery.data.clients import unpack
from orrery.errors import OrreryError
from tests.data.tiny import FILES, make_card

KEPT = sorted(FILES)


def add(archive, name, content=b"", kind=tarfile.REGTYPE, target=""):
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, target
    archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz"])
def test_an_sdist_or_npm_package_gives_its_files_only(tmp_path, suffix):
    archive = tmp_path / f"tiny-1.0{suffix}"
    with tarfile.open(archive, "w:gz") as tree:
        for name, content in FILES.items():
            add(tree, f"package/tiny/texts/{name}", content)
        add(tree, "package/tiny/texts/../../../../escaped.txt", b"outside")
        add(tree, "/tmp/orrery-escaped.txt", b"outside")
        add(tree, "package/tiny/texts/other.txt", b"not on the card")
    ready = tmp_path / "in" / "ready"
    ready.mkdir(parents=True)
    unpack(make_card(), archive, ready)
    assert sorted(path.name for path in tmp_path.rglob("*.txt")) == KEPT
    assert (ready / "second.txt").read_bytes() == b"two\n"


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    archive = tmp_path / "tiny-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tree:
        add(tree, "package/tiny/texts/first.txt", b"one\n")
        add(tree, "package/tiny/texts/second.txt", kind=tarfile.SYMTYPE, target=str(secret))
    ready = tmp_path / "ready"
    ready.mkdir()
    with pytest.raises(OrreryError, match=r"has no tiny/texts/second\.txt"):
        unpack(make_card(), archive, ready)


def test_a_cut_archive_is_refused(tmp_path):
    archive = tmp_path / "tiny-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tree:
        add(tree, "package/tiny/texts/first.txt", bytes(range(256)) * 64)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(OrreryError, match=r"tiny-1\.0\.tgz cannot be unpacked"):
        unpack(make_card(), archive, tmp_path)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb on this machine")
def test_a_debian_package_gives_its_files_only(tmp_path):
    tree = tmp_path / "tree"
    texts = tree / "usr" / "share" / "tiny"
    texts.mkdir(parents=True)
    for name, content in FILES.items():
        (texts / name).write_bytes(content)
    (texts / "other.txt").write_text("not on the card")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: tiny\n"
    )
    archive = tmp_path / "tiny.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    ready = tmp_path / "ready"
    ready.mkdir()
    unpack(make_card(inside="usr/share/tiny"), archive, ready)
    assert sorted(path.name for path in ready.iterdir()) == KEPT
    archive.write_bytes(b"!<arch>\nnot a package")
    with pytest.raises(OrreryError):
        unpack(make_card(inside="usr/share/tiny"), archive, ready)


def test_files_of_one_package_may_lie_in_two_folders(tmp_path):
    archive = tmp_path / "tiny-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tree:
        add(tree, "package/first.txt", b"one\n")
        add(tree, "package/deep/er/second.txt", b"two\n")
        add(tree, "package/second.txt", b"a stranger's")
        add(tree, "package/deep/er/first.txt", b"a stranger's")
    card = make_card(inside="", elsewhere={"second.txt": "deep/er"})
    assert [card.place(file) for file in KEPT] == ["first.txt", "deep/er/second.txt"]
    ready = tmp_path / "ready"
    ready.mkdir()
    unpack(card, archive, ready)
    assert {path.name: path.read_bytes() for path in ready.iterdir()} == FILES
    with pytest.raises(OrreryError, match=r"has no shallow/second\.txt"):
        unpack(make_card(inside="", elsewhere={"second.txt": "shallow"}), archive, ready)
