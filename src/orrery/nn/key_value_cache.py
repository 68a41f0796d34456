"""Keys and values of the tokens seen so far, so that none is computed twice."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class KeyValueCache:
    """One pair a layer: keys [b h s k] and values [b h s c]; grows as a text is read."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return self.keys[0].shape[-2] if self.keys else 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append one layer's new keys and values; all of that layer's, old and new."""
        if layer == len(self.keys):
            self.keys.append(k)
            self.values.append(v)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], k], dim=-2)
            self.values[layer] = torch.cat([self.values[layer], v], dim=-2)
        return self.keys[layer], self.values[layer]

    def take(self, rows: Tensor) -> None:
        """Go on with these rows of the batch, in this order: what a beam search keeps."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]

    def beginning(self, length: int) -> "KeyValueCache":
        """A cache of the first `length` tokens; this one stays as it is."""
        found = KeyValueCache(list(self.keys), list(self.values))
        found.cut(length)
        return found

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.keys = [k[..., :length, :] for k in self.keys] if length else []
        self.values = [v[..., :length, :] for v in self.values] if length else []
