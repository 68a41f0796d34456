"""Llama 3: Llama 2's decoder with a vocabulary four times as large, and far more text.

Source: Llama Team 2024, "The Llama 3 Herd of Models", arXiv:2407.21783, section 3.2, table 3 and
section 3.1 (tokens of training); the published config.json of Llama 3.1 for epsilon and context.
Differs from the paper: a token may see the others of its row whatever document they are from.

Of the rotary positions the base is greater, and past the first 8192 places they are slowed by the
rule "llama3" of `rope_scaling`.
"""

from orrery.catalog import System
from orrery.systems.language.llama import LlamaConfig, parameters
from orrery.systems.language.rope_scaling import Rope
from orrery.systems.scaling.compute_6nd import training_compute

SYSTEM = System(
    stem="llama3", area="language", title="Llama 3", year=2024,
    papers=("arXiv:2407.21783",), builds_on=("llama", "rope_scaling", "compute_6nd"),
    realises=("llama-3",),
)  # fmt: skip

TRAINED_ON = {"8B": 15.0e12, "70B": 15.0e12, "405B": 15.6e12}
"""Tokens of training; of the smaller two the model card says only "over 15 trillion"."""


def _llama3(depth: int, heads: int, width: int, inner: int) -> LlamaConfig:
    rope = Rope(
        rope_type="llama3", rope_theta=500_000.0, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192,
    )  # fmt: skip
    return LlamaConfig(
        vocab=128_256, context=131_072, depth=depth, heads=heads, groups=8,
        width=width, inner=inner, epsilon=1e-5, rope=rope,
    )  # fmt: skip


def llama3_8b() -> LlamaConfig:
    """8.0 billion parameters."""
    return _llama3(32, 32, 4096, 14_336)


def llama3_70b() -> LlamaConfig:
    """70.6 billion parameters."""
    return _llama3(80, 64, 8192, 28_672)


def llama3_405b() -> LlamaConfig:
    """405.9 billion parameters."""
    return _llama3(126, 128, 16_384, 53_248)


def cost(size: str) -> dict[str, float]:
    """What training took: parameters, tokens, and operations by C = 6 N D.

    Raises:
        ValueError: there is no such size.
    """
    presets = {"8B": llama3_8b, "70B": llama3_70b, "405B": llama3_405b}
    if size not in presets:
        raise ValueError(f"size must be one of {', '.join(presets)}, got {size!r}")
    held, read = parameters(presets[size]()), TRAINED_ON[size]
    return {"parameters": float(held), "tokens": read, "operations": training_compute(held, read)}
