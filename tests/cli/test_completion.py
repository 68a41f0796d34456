"""`orrery completion`."""

import json
import shutil
import subprocess

import pytest

from orrery.cli.completion import SHELLS, main
from orrery.errors import UsageError


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_its_script(capsys, shell):
    assert main([shell]) == 0
    script = capsys.readouterr().out
    assert "residual_depth" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "found"),
    [(("rec",), "record"), (("run", "residual_de"), "residual_depth"), (("data", "mn"), "mnist")],
)
def test_bash_completes(capsys, words, found):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    main(["bash"])
    script = capsys.readouterr().out
    ask = f"COMP_WORDS=(orrery {' '.join(words)}); COMP_CWORD={len(words)}; _orrery"
    done = subprocess.run(
        [bash, "-c", f'{script}\n{ask}\necho "${{COMPREPLY[@]}}"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [found]


def test_for_machines_and_for_other_shells(capsys):
    assert main(["bash", "--json"]) == 0
    assert "run" in json.loads(capsys.readouterr().out)["commands"]
    with pytest.raises(UsageError, match="did you mean fish"):
        main(["fsh"])
