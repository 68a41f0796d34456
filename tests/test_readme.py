"""The READMEs say what is true: their code runs, their commands exist, their links lead on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
PAPERS = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")


def blocks(paper, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / paper).read_text(encoding="utf8"), re.S)


def test_the_python_runs_and_prints_what_the_comment_says():
    english, chinese = (blocks(paper, "python") for paper in PAPERS[:2])
    assert english == chinese
    for code in english:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == re.search(r"# (torch.Size.*)", code).group(1)


@pytest.mark.parametrize("paper", PAPERS[:2])
def test_what_commands_print_is_what_they_print(paper):
    shown = blocks(paper, "text")
    assert shown
    for block in shown:
        command, printed = block.split("\n", 1)
        arguments = command.removeprefix("$ orrery ").split()
        done = subprocess.run(
            [sys.executable, "-m", "orrery", *arguments], capture_output=True, text=True
        )
        assert done.stdout == printed


@pytest.mark.parametrize("paper", PAPERS)
def test_commands_exist_and_links_lead_somewhere(paper):
    text = (ROOT / paper).read_text(encoding="utf8")
    for command in re.findall(r"`?orrery ([a-z]+)[ `<]", text):
        assert command in COMMANDS, command
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / link).exists(), link
    for target in re.findall(r"`?make ([a-z]+)", text):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target
