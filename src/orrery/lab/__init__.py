"""The lab: runs experiments so that they can be repeated, resumed, doubted and judged."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from orrery.home import cache_folder

if TYPE_CHECKING:
    from orrery.lab.claim import Claim, Control, Finding, Measured
    from orrery.lab.run import Lab
    from orrery.lab.settings import Range, Settings

__all__ = ["Claim", "Control", "Finding", "Lab", "Measured", "Range", "Settings"]

# The user's own folders may be read-only; nor should a style of the user's reach our figures.
os.environ.setdefault("MPLCONFIGDIR", str(cache_folder("matplotlib")))

_FILES = {
    "Claim": "claim", "Control": "claim", "Finding": "claim", "Measured": "claim",
    "Lab": "run", "Range": "settings", "Settings": "settings",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A name of the public surface, imported when first asked for: a list of runs needs no torch.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
