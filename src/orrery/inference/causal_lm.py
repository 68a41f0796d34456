"""What causal language models of the published layout share: their loss, and writing on."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from orrery.inference.decoding import Written
from orrery.inference.generation import generate
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.pretrained import Pretrained

Tokens = Int[Tensor, "b t"]


def next_token_loss(logits: Float[Tensor, "b t v"], targets: Tokens) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats; of scores in bfloat16 it is found in float32."""
    if logits.dtype == torch.bfloat16:  # three digits are enough for scores, not for a mean
        logits = logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class CausalLm(Pretrained):
    """A published model whose `forward` gives the scores of the next token."""

    def cache(self) -> KeyValueCache:
        """An empty cache of the kind that the model needs."""
        return KeyValueCache()

    def loss(self, tokens: Tokens, targets: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy of the next token, in nats; `targets` is `tokens` one step on."""
        return next_token_loss(self(tokens).logits, targets)

    def generate(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Written:
        """The prompts and what comes after them; see `orrery.inference.generation.generate`."""
        return generate(
            self, input_ids, attention_mask, generator=generator, cache=self.cache(), **options
        )
