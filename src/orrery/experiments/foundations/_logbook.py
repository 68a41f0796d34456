"""What a training that is timed writes down; part of its checkpoints."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class Logbook(nn.Module):
    """CPU seconds spent, and at the end of each pass how many pictures are told right."""

    spent_seconds: Float[Tensor, ""]
    passes: Int64[Tensor, ""]
    seconds: Float[Tensor, " epochs"]
    right: Float[Tensor, " epochs"]

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.register_buffer("spent_seconds", torch.zeros((), dtype=torch.float64))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seconds", torch.zeros(epochs, dtype=torch.float64))
        self.register_buffer("right", torch.zeros(epochs, dtype=torch.float64))

    def note(self, right: float) -> None:
        """Write down how good the net is after one more pass."""
        self.seconds[self.passes], self.right[self.passes] = self.spent_seconds, right
        self.passes += 1

    def reached(self, level: float, in_the_end: float) -> float | None:
        """Seconds to the first pass after which so many are right; None if it never was.

        Args:
            level: share of the pictures.
            in_the_end: how many are right by the verdict that counts.
        """
        enough = (self.right >= level).nonzero()
        if len(enough):
            return float(self.seconds[enough[0, 0]])
        return float(self.spent_seconds) if in_the_end >= level else None
