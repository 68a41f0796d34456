"""The lab: runs experiments so that they can be repeated, resumed, doubted and judged."""

from orrery.lab.claim import Claim, Control, Finding, Measured
from orrery.lab.run import Lab
from orrery.lab.settings import Range, Settings

__all__ = ["Claim", "Control", "Finding", "Lab", "Measured", "Range", "Settings"]
