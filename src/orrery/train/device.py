"""One place for device, threads, determinism and the state of random numbers."""

import os
import random

import numpy as np
import torch


def prepare(threads: int = 1) -> None:
    """Make torch deterministic and give it `threads` threads; call before any work.

    One thread a process is the rule: results then do not depend on how many cores there are,
    and many seeds fill a machine better than many threads do.
    """
    # read when the first CUDA context is made; needed for deterministic products there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # for libraries that know no other
    random.seed(seed)


def pick(name: str) -> torch.device:
    """The device called `name`; `auto` is an accelerator where there is one.

    Raises:
        ValueError: torch does not have that device here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={name!r} is not available: {reason}") from None
    return device
