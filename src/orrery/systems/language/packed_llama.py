"""Llama with its weights kept in four bits, out of a GGUF file.

The file's own numbers are used (Q4_0, Q4_1), packed in another order; nothing is quantised again
but scales and offsets, from half precision to bfloat16. The stream, norms and attention stay in
single precision, the table of embeddings is in bfloat16.

Source: `orrery.systems.language.gguf_llama` for the file, `orrery.inference.packed_linear` for
the products.
Differs from the papers: activations go into products as bfloat16.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.inference.gguf_blocks import Groups
from orrery.inference.packed_linear import HalfTable, PackedLinear
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.gguf_llama import halves_of_pairs, read_config
from orrery.systems.language.llama import Llama, LlamaConfig

SYSTEM = System(
    stem="packed_llama", area="language", title="Llama in four bits", year=2023,
    papers=("GGUF version 3",), builds_on=("gguf_llama", "llama"),
)  # fmt: skip


class PackedLlama:
    """A Llama to write with: tokens and a cache in, scores of the next token out."""

    def __init__(self, file: Gguf) -> None:
        """Pack the weights of a file.

        Raises:
            OrreryError: it is not a Llama with weights in four bits.
        """
        self.config = read_config(file)
        with torch.device("meta"):  # a skeleton, whose weights are replaced
            model: Any = Llama(self.config).eval()
        self.model = model
        self.table = self.head = HalfTable(file.tensor("token_embd.weight"))
        if not self.config.tied:
            self.head = HalfTable(file.tensor("output.weight"))
        model.embed, model.head = self.table, None
        put(model.norm, file.tensor("output_norm.weight"))
        for i, block in enumerate(model.blocks):
            at = f"blk.{i}."
            put(block.norm_attention, file.tensor(at + "attn_norm.weight"))
            put(block.norm_feed_forward, file.tensor(at + "ffn_norm.weight"))
            block.attention.qkv = packed(file, self.config, at, "attn_q", "attn_k", "attn_v")
            block.attention.out = packed(file, self.config, at, "attn_output")
            block.feed_forward.gate_up = packed(file, self.config, at, "ffn_gate", "ffn_up")
            block.feed_forward.down = packed(file, self.config, at, "ffn_down")

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """Scores of the token after the last of `tokens`, which the cache has not seen."""
        x: Tensor = self.model.read(tokens, cache=cache)
        return self.head.scores(x[:, -1])

    def write(self, tokens: Tensor, caches: Sequence[KeyValueCache]) -> Tensor:
        """One token more of each text, text after text; scores of the next ones."""
        return torch.cat([self(one[None, None], c) for one, c in zip(tokens, caches, strict=True)])

    def new_cache(self) -> KeyValueCache:
        """Of a text that begins."""
        return KeyValueCache()

    @property
    def bytes(self) -> int:
        """What the weights take in memory."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        if self.head is not self.table:
            tensors.append(self.head.weight)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def put(norm: nn.Module, gain: Tensor) -> None:
    """Give a norm its gain."""
    norm.weight = nn.Parameter(gain, requires_grad=False)


def packed(file: Gguf, config: LlamaConfig, at: str, *names: str) -> PackedLinear:
    """Maps of the same input as one, in four bits.

    Raises:
        OrreryError: one is missing or kept in another format.
    """
    found = [four_bits(file, config, at, name) for name in names]
    return PackedLinear(*(torch.cat(part) for part in zip(*found, strict=True)))


def four_bits(file: Gguf, config: LlamaConfig, at: str, name: str) -> Groups:
    """One map's numbers, scales and offsets, rows in the published order."""
    blocks = file.blocks(f"{at}{name}.weight")
    stored = file.tensors[f"{at}{name}.weight"]
    if stored.format.groups is None:
        raise OrreryError(
            f"{file.path}: {stored.name} must be Q4_0 or Q4_1, got {stored.format.name}"
        )
    parts = [part.reshape(stored.shape[0], -1) for part in stored.format.groups(blocks)]
    if name in ("attn_q", "attn_k"):
        heads = config.heads if name == "attn_q" else config.key_heads
        parts = [halves_of_pairs(part, heads, file) for part in parts]
    return parts[0], parts[1], parts[2]
