"""A cache for attention that looks back a fixed number of tokens: what is out of sight is dropped.

Source: Jiang et al. 2023, "Mistral 7B", arXiv:2310.06825, section 2.
Differs from the paper: tokens are kept in their order, not at place i mod W, so that several can be
added at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from orrery.catalog import System
from orrery.nn.key_value_cache import KeyValueCache

SYSTEM = System(
    stem="rolling_cache", area="language", title="Rolling cache", year=2023,
    papers=("arXiv:2310.06825",), builds_on=(), realises=(),
)  # fmt: skip


@dataclass(slots=True)
class RollingCache(KeyValueCache):
    """Keys and values of the last `window - 1` tokens: with a new one itself it sees `window`."""

    window: int = 4096
    seen: int = 0
    """Tokens that went through it."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")

    def __len__(self) -> int:
        return self.seen

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the newest of a layer; all that its new tokens may look at."""
        if layer == 0:
            self.seen += k.shape[-2]
        if layer < len(self.keys):
            k = torch.cat([self.keys[layer], k], dim=-2)
            v = torch.cat([self.values[layer], v], dim=-2)
        else:
            self.keys.append(k)
            self.values.append(v)
        kept = max(0, k.shape[-2] - self.window + 1)
        self.keys[layer], self.values[layer] = k[..., kept:, :], v[..., kept:, :]
        return k, v
