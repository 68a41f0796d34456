"""A constraint whose failure ends its own text and no other."""

import threading
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from orrery.inference.decoding import Constraint


@dataclass(slots=True)
class SafeConstraint:
    """What one text must be. Masks are shared by texts and threads, so each look has the lock."""

    inner: Constraint
    lock: threading.Lock
    vocab: int
    end: int
    """Ends a text; after a failure it is the only token."""
    error: Exception | None = None

    def mask(self) -> Bool[Tensor, " v"]:
        """The tokens that may come next."""
        if self.error is None:
            try:
                with self.lock:
                    return self.inner.mask()
            except Exception as error:
                self.error = error
        only = torch.zeros(self.vocab, dtype=torch.bool)
        only[self.end] = True
        return only

    def advance(self, token: int) -> None:
        """Go on with one of these."""
        if self.error is None:
            try:
                with self.lock:
                    self.inner.advance(token)
            except Exception as error:
                self.error = error

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        with self.lock:
            return self.error is None and self.inner.complete
