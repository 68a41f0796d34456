"""`orrery data`."""

import json

import pytest

from orrery.cli.data import main
from orrery.data import digits, fetch
from orrery.data.sets import CARDS
from orrery.errors import OrreryError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ORRERY_HOME", str(tmp_path))
    return tmp_path


def test_list_names_every_set_and_whether_it_is_here(capsys):
    assert main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(CARDS)
    assert "to get" in lines["digits"]
    assert "here" in lines["planar"]


def test_list_for_machines(capsys):
    assert main(["list", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in sets] == list(CARDS)
    assert all({"kind", "size", "licence", "present", "sha256"} <= set(entry) for entry in sets)


def test_get_then_verify_then_a_changed_file(capsys):
    assert main(["get", "digits", "planar"]) == 0
    assert main(["verify"]) == 0
    assert "1 of 1 files of 1 data sets are as released" in capsys.readouterr().out
    path = fetch.folder(digits.CARD) / digits.FILE
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["verify"]) == 1
    assert f"{path} is refused: expected SHA-256" in capsys.readouterr().out
    assert main(["get", "digits"]) == 0
    assert main(["verify", "digits"]) == 0


def test_verify_by_name_counts_a_set_that_is_not_here_as_bad(capsys):
    assert main(["verify"]) == 0
    assert main(["verify", "digits"]) == 1
    assert "digits.csv.gz is missing" in capsys.readouterr().out


def test_get_goes_on_after_a_set_that_cannot_be_had(capsys, monkeypatch):
    def refuse(card, work):
        raise OrreryError("no network")

    monkeypatch.setattr(fetch, "download", refuse)
    monkeypatch.setattr(fetch, "installed_folder", lambda card: None)
    assert main(["get", "mnist", "planar"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("orrery: data set mnist cannot be had: no network")
    assert said.err.count("\n") == 1
    assert "planar" in said.out


def test_get_and_verify_for_machines(capsys):
    assert main(["get", "digits", "--json"]) == 0
    (got,) = json.loads(capsys.readouterr().out)
    assert (got["name"], got["present"], got["error"]) == ("digits", True, None)
    (fetch.folder(digits.CARD) / digits.FILE).write_bytes(b"")
    assert main(["verify", "--json"]) == 1
    (checked,) = json.loads(capsys.readouterr().out)
    assert (checked["name"], checked["files"], len(checked["bad"])) == ("digits", 1, 1)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gte", "mnist"], "no action 'gte'; did you mean get"),
        (["get", "fashion-mnist"], "no data set 'fashion-mnist'; did you mean fashion_mnist"),
        (["get"], "name the data sets to get, or --all"),
        ([], "action"),
    ],
)
def test_bad_usage_says_what_is_allowed(argv, message):
    with pytest.raises(UsageError, match=message):
        main(argv)
