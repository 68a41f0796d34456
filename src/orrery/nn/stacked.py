"""Several linear maps of the same input, made by one matrix product."""

from torch import nn


class StackedLinear(nn.Linear):
    """A linear layer whose weight holds `parts` maps, one above the other.

    One large product is faster than several small ones. What the layer computes does not know of
    the parts; an optimiser that looks at a map as a whole, such as Muon, has to.
    """

    def __init__(self, inputs: int, outputs: int, parts: int, *, bias: bool = True) -> None:
        """Make `parts` maps from `inputs` to `outputs` numbers."""
        super().__init__(inputs, parts * outputs, bias=bias)
        self.parts = parts
