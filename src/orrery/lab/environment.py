"""Where a run ran: machine, versions, commit; kept with every run and record."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from orrery.lab.versions import versions


def environment(threads: int, device: str) -> dict[str, Any]:
    """Machine, versions, commit, threads and device of this process; names no user or host."""
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "threads": threads,
        "device": device,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
    }


def machine() -> dict[str, Any]:
    """Processor, cores and memory."""
    pages = "SC_PHYS_PAGES"
    memory = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") if pages in os.sysconf_names else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory / 2**30, 1),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def commit() -> str:
    """The commit of the checkout orrery runs from, with `+` if files differ; "" outside one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "src")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _processor() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
