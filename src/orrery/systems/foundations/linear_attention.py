"""Linear attention: with a product in place of the softmax, the past fits into one matrix.

Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with
Linear Attention", arXiv:2006.16236, equations 4 to 12 and 16 to 20.
Differs from the paper: there is a third form between the two, in chunks.

out_i = phi(q_i) S_i / (phi(q_i) z_i), with S_i the sum of phi(k_j) v_j' and z_i that of phi(k_j)
over j up to i. As a product of matrices it is n^2 work for all tokens at once (parallel); as a
recurrence n steps that keep k c + k numbers, however long the text (recurrent); in chunks of l,
n l work in n / l steps. All three are the same function.

Symbols: n tokens, queries and keys of k numbers, values of c; phi(x) = elu(x) + 1.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="linear_attention", area="foundations", title="Linear attention", year=2020,
    papers=("arXiv:2006.16236",), builds_on=(), realises=("linear-attention",),
)  # fmt: skip

Keys = Float[Tensor, "b h n k"]
Values = Float[Tensor, "b h n c"]


@dataclass(frozen=True, slots=True)
class KeyValueMemory:
    """All that the past leaves behind."""

    pairs: Float[Tensor, "b h k c"]
    """S, the sum of phi(k_j) v_j'."""
    keys: Float[Tensor, "b h k"]
    """z, the sum of phi(k_j)."""

    @classmethod
    def empty(cls, k: Keys, v: Values) -> "KeyValueMemory":
        """Before the first token."""
        b, h, _, size = k.shape
        return cls(k.new_zeros(b, h, size, v.shape[-1]), k.new_zeros(b, h, size))

    def after(self, k: Keys, v: Values) -> "KeyValueMemory":
        """With these tokens too; keys as phi gives them."""
        return KeyValueMemory(self.pairs + k.mT @ v, self.keys + k.sum(dim=2))

    def numbers(self) -> int:
        """How many it holds for each head of each text."""
        return self.pairs[0, 0].numel() + self.keys[0, 0].numel()


def features(x: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
    """phi(x) = elu(x) + 1, above 0 everywhere (equation 7)."""
    return F.elu(x) + 1


def parallel(q: Keys, k: Keys, v: Values, *, causal: bool = True) -> Values:
    """All tokens at once, by the n by n matrix of weights (equation 8)."""
    weights = features(q) @ features(k).mT
    if causal:
        weights = weights.tril()
    return weights @ v / weights.sum(dim=-1, keepdim=True)


def unmasked(q: Keys, k: Keys, v: Values) -> Values:
    """Where every token sees all: S and z once for all of them (equations 5 and 6)."""
    memory = KeyValueMemory.empty(k, v).after(features(k), v)
    q = features(q)
    return q @ memory.pairs / (q @ memory.keys[..., None])


def step(q: Keys, k: Keys, v: Values, memory: KeyValueMemory) -> tuple[Values, KeyValueMemory]:
    """One token after the memory (equations 18 to 20): what it takes, and the memory with it."""
    q, memory = features(q), memory.after(features(k), v)
    return q @ memory.pairs / (q @ memory.keys[..., None]), memory


def recurrent(q: Keys, k: Keys, v: Values) -> Values:
    """Token after token, with nothing kept but the memory."""
    memory, outputs = KeyValueMemory.empty(k, v), []
    for i in range(q.shape[2]):
        one = slice(i, i + 1)
        output, memory = step(q[:, :, one], k[:, :, one], v[:, :, one], memory)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


def chunked(q: Keys, k: Keys, v: Values, length: int = 64) -> Values:
    """Chunk after chunk: inside one as `parallel`, from those before by the memory.

    Args:
        q: of all tokens.
        k: of all tokens.
        v: of all tokens.
        length: tokens a chunk, at least 1.

    Raises:
        ValueError: length is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    memory, outputs = KeyValueMemory.empty(k, v), []
    for part_q, part_k, part_v in zip(*(x.split(length, dim=2) for x in (q, k, v)), strict=True):
        part_q, part_k = features(part_q), features(part_k)
        weights = (part_q @ part_k.mT).tril()
        total = weights @ part_v + part_q @ memory.pairs
        whole = weights.sum(dim=-1, keepdim=True) + part_q @ memory.keys[..., None]
        outputs.append(total / whole)
        memory = memory.after(part_k, part_v)
    return torch.cat(outputs, dim=2)
