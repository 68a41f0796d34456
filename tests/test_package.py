"""The package as it is shipped: what is in the wheel, and what its code must never do."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("src/**/*.py"))
MOST_BYTES = 10_000_000
SPOKEN = ("*.md", "docs/**/*.md", "pyproject.toml", "constraints.txt", "Makefile", ".ci/run",
          "src/**/*.py", "src/**/*.yaml", "src/**/*.html", "src/**/*.css", "records/**/*.json",
          "benchmarks/**/*.py")  # fmt: skip

IMPORT_ALL = """
import importlib, pkgutil, sys, warnings

def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"{event} while {name} was imported")

sys.addaudithook(refuse)
warnings.simplefilter("ignore")
name = "orrery"
import orrery
for module in pkgutil.walk_packages(orrery.__path__, "orrery."):
    name = module.name
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as pip builds it but without fetching anything."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_small_and_whole(wheel):
    assert wheel.stat().st_size < MOST_BYTES
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "orrery"
    for kind in ("*.py", "*.html", "*.css", "*.yaml", "*.sha256", "py.typed"):
        files = {f"orrery/{path.relative_to(package).as_posix()}" for path in package.rglob(kind)}
        assert files, f"the package has no {kind}"
        assert files <= names
    records = {f"orrery/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("records/*/*")}
    assert records <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_importing_opens_no_socket():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_nothing_unsafe_is_called(path):
    tree = ast.parse(path.read_text("utf8"))
    assert list(unsafe(tree)) == []


def unsafe(tree):
    """Imports and calls that run what a file or a string says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = node.module if isinstance(node, ast.ImportFrom) else None
            names = [origin or "", *(alias.name for alias in node.names)]
            for name in names:
                if name.partition(".")[0] in ("pickle", "dill", "joblib", "shelve", "marshal"):
                    yield f"line {node.lineno}: import of {name}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if (
                called in ("eval", "exec", "compile", "__import__", "torch.load", "torch.save")
                or called in ("os.system", "os.popen", "np.save", "numpy.save", "yaml.unsafe_load")
                or (called == "yaml.load" and "Safe" not in options.get("Loader", ""))
                or options.get("shell", "False") != "False"
                or options.get("allow_pickle", "False") != "False"
            ):
                yield f"line {node.lineno}: {called}(...)"


def test_the_scan_finds_what_it_is_for():
    text = (
        "import pickle\nfrom joblib import load\neval('1')\ntorch.load('x')\nyaml.load(f)\n"
        "subprocess.run('ls', shell=True)\nnp.load(f, allow_pickle=True)\n"
        "model.eval()\nre.compile('x')\nyaml.load(f, Loader=CSafeLoader)\n"
    )
    assert len(list(unsafe(ast.parse(text)))) == 7


def test_no_file_names_a_machine_or_a_registry():
    machine = re.compile(r"(?<![\w.])/(root|home|work|opt|mnt|Users)/\w")
    host = re.compile(
        r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian|download\.pytorch|index-url|find-links"
    )
    found = []
    for pattern in SPOKEN:
        for path in ROOT.glob(pattern):
            text = path.read_text("utf8")
            places = (*machine.finditer(text), *host.finditer(text))
            found += [f"{path.relative_to(ROOT)}: {place[0]}" for place in places]
    assert found == []
