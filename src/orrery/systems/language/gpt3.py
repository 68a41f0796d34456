"""GPT-3: GPT-2 in eight sizes up to a hundred times as large, and what training them took.

Source: Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, section 2.1,
table 2.1 (sizes, batches, rates) and appendix D, table D.1 (parameters, tokens, operations).
Differs from the paper: attention is dense in every layer, where the paper's is locally banded in
every second one (`sparse_attention`), which changes no count; no size is trained here. What
examples in a prompt do is measured on a small model (`in_context`).

Table 2.1 contradicts table D.1 in one place: 5140 numbers a token give the 13B model more
parameters than D.1 counts; 5120, forty heads of 128, give them exactly. And its 24 heads of 128
are not 2048 numbers, so the 1.3B model has 16 here.
"""

from dataclasses import dataclass

from orrery.catalog import System
from orrery.systems.language.gpt2 import Gpt2Config
from orrery.systems.scaling.compute_6nd import training_compute

SYSTEM = System(
    stem="gpt3", area="language", title="GPT-3", year=2020,
    papers=("arXiv:2005.14165",), builds_on=("gpt2", "compute_6nd"), realises=("gpt-3",),
)  # fmt: skip

TOKENS = 300e9
"""Of training, for every size."""
CONTEXT = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """A row of tables 2.1 and D.1, as printed."""

    depth: int
    width: int
    heads: int
    head_size: int
    batch: float
    """Tokens a step."""
    rate: float
    """Highest learning rate."""
    parameters: float
    """As table D.1 has them."""
    operations: float
    """Of the whole training, as table D.1 has them."""


SIZES = {
    name: Size(
        depth=row[0], width=row[1], heads=row[2], head_size=row[3],
        batch=row[4], rate=row[5], parameters=row[6], operations=row[7],
    )
    for name, row in {
        "125M": (12, 768, 12, 64, 0.5e6, 6.0e-4, 125e6, 2.25e20),
        "350M": (24, 1024, 16, 64, 0.5e6, 3.0e-4, 356e6, 6.41e20),
        "760M": (24, 1536, 16, 96, 0.5e6, 2.5e-4, 760e6, 1.37e21),
        "1.3B": (24, 2048, 24, 128, 1e6, 2.0e-4, 1_320e6, 2.38e21),
        "2.7B": (32, 2560, 32, 80, 1e6, 1.6e-4, 2_650e6, 4.77e21),
        "6.7B": (32, 4096, 32, 128, 2e6, 1.2e-4, 6_660e6, 1.20e22),
        "13B": (40, 5140, 40, 128, 2e6, 1.0e-4, 12_850e6, 2.31e22),
        "175B": (96, 12_288, 96, 128, 3.2e6, 0.6e-4, 174_600e6, 3.14e23),
    }.items()
}  # fmt: skip


def config(name: str) -> Gpt2Config:
    """The model of that size: heads of the printed size, as many as fill whole numbers of them.

    Raises:
        ValueError: there is no such size.
    """
    size = _row(name)
    heads = size.width // size.head_size
    return Gpt2Config(context=CONTEXT, depth=size.depth, heads=heads, width=heads * size.head_size)


def parameters(sizes: Gpt2Config) -> int:
    """How many numbers a GPT-2 of these sizes holds, without building it."""
    c, d = sizes, sizes.width
    inner = c.inner or 4 * d
    block = 4 * d * d + 4 * d + 2 * d * inner + inner + d + 4 * d
    return (c.vocab * (1 if c.tied else 2) + c.context) * d + c.depth * block + 2 * d


def cost(name: str) -> dict[str, float]:
    """What training took: parameters, tokens, operations by C = 6 N D, and steps.

    Raises:
        ValueError: there is no such size.
    """
    held = parameters(config(name))
    return {
        "parameters": float(held), "tokens": TOKENS,
        "operations": training_compute(held, TOKENS), "steps": TOKENS / _row(name).batch,
    }  # fmt: skip


def _row(name: str) -> Size:
    if name not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {name!r}")
    return SIZES[name]
