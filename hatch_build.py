"""Compiles the step of `orrery.inference.step` when the package is built.

Where there is no C compiler, or it fails, the package is built without it and writes more slowly.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-fno-math-errno"]


class CompileStep(BuildHookInterface):
    """src/orrery/inference/step.c to step.native beside it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this kind of machine."""
        if self.target_name != "wheel":
            return
        source = Path(self.root, "src", "orrery", "inference", "step.c")
        library = source.with_suffix(".native")
        if not compiled(source, library):
            library.unlink(missing_ok=True)
            return
        build_data["artifacts"].append("src/orrery/inference/step.native")
        build_data["pure_python"] = False
        build_data["tag"] = (
            f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        )


def compiled(source: Path, library: Path) -> bool:
    """Whether the library could be made; says why not."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        sys.stderr.write(
            "orrery: no C compiler for this machine: built without the compiled step\n"
        )
        return False
    made = library.with_suffix(".new")  # put in place whole: it may be in use
    command = [compiler, *FLAGS, str(source), "-o", str(made), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.stderr.write(f"orrery: {' '.join(command)} failed:\n{result.stderr}\n")
        return False
    made.replace(library)
    return True
