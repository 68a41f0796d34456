"""Llama 2: twice the context, and in its largest size groups of queries, for the cache's sake.

Source: Touvron et al. 2023, "Llama 2: Open Foundation and Fine-Tuned Chat Models",
arXiv:2307.09288, section 2.2, table 1 and appendix A.2.1; the published config.json.
Differs from the paper: a 34B model was trained but not published, and has no preset.

A cache holds, for every token and layer, a key and a value for each head of keys: what grouped
queries (GQA) share it by is heads over groups, and by all of them with one group (MQA).
"""

from dataclasses import replace

from orrery.catalog import System
from orrery.systems.language.llama import LlamaConfig

SYSTEM = System(
    stem="llama2", area="language", title="Llama 2", year=2023,
    papers=("arXiv:2307.09288",), builds_on=("llama",), realises=("llama-2",),
)  # fmt: skip


def llama2_7b() -> LlamaConfig:
    """6.7 billion parameters."""
    return LlamaConfig(context=4096, epsilon=1e-5)


def llama2_13b() -> LlamaConfig:
    """13.0 billion parameters."""
    return LlamaConfig(
        context=4096, epsilon=1e-5, depth=40, heads=40, width=5120, inner=13_824
    )  # fmt: skip


def llama2_70b() -> LlamaConfig:
    """69.0 billion parameters; eight groups of eight query heads."""
    return LlamaConfig(
        context=4096, epsilon=1e-5, depth=80, heads=64, groups=8, width=8192, inner=28_672
    )


def cache_bytes(config: LlamaConfig, tokens: int = 1, *, bytes_per_number: int = 2) -> int:
    """What a cache of one text takes: 2 L g k numbers a token.

    Args:
        config: L layers, g heads of keys of k numbers each.
        tokens: held.
        bytes_per_number: 2 in half precision.

    Raises:
        ValueError: tokens is below 0 or bytes_per_number below 1.
    """
    if tokens < 0:
        raise ValueError(f"tokens must be at least 0, got {tokens}")
    if bytes_per_number < 1:
        raise ValueError(f"bytes_per_number must be at least 1, got {bytes_per_number}")
    return 2 * config.depth * config.key_heads * config.size * tokens * bytes_per_number


def with_groups(config: LlamaConfig, groups: int | None) -> LlamaConfig:
    """The model with another number of heads of keys: all (None), some, or 1."""
    return replace(config, groups=groups)


def cache_sizes(config: LlamaConfig, tokens: int = 1, *, groups: int = 8) -> dict[str, int]:
    """Bytes of a cache in half precision with a head of keys for each query head, group, or all."""
    kinds = {"MHA": None, "GQA": groups, "MQA": 1}
    return {kind: cache_bytes(with_groups(config, n), tokens) for kind, n in kinds.items()}
