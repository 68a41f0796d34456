"""Do laws fitted to small language models tell what larger ones will do?

A ladder of GPTs that differ in width alone reads Shakespeare, character by character. Kaplan's
and Chinchilla's laws are fitted to the runs below a budget of compute and asked about networks
trained with several times that budget, some of them wider than any that were fitted. In the
ablation the characters are shuffled: nothing is left to learn but how frequent each of them is.

The plan says that small models predict the loss of large ones within 10 %: a figure without a
source, and no feat where scaling itself brings about 10 %. Here the error must be smaller than
both. Of "parameters matter most, then data, then compute" the opposite is tested: as in Kaplan's
own figures, data have the largest exponent. For N ~ C^0.73 its explanation is: leaving embeddings
out of N raises the exponent of small networks. "alpha = beta = 0.5" confuses the exponents of the
loss with that of the allocation: tested is which is nearer to a half. "20 tokens a parameter" is
no constant: tested is that it drifts. "Data matter more than parameters" is tested as what its
source says: at a fixed budget more and fewer parameters than the best are both worse. Scaling laws
do not break the rule of falling returns: tested are the returns, and that width saves data.

At a thousand times the compute (`--scale large` goes part of the way) tokens are subwords and read
once, rungs grow in depth too, the rate is tuned on a narrow rung and carried over, and the runs of
a budget go to many machines at once; the laws and their fits stay as they are.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from matplotlib.figure import Figure

from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.data.corpus import Corpus
from orrery.experiments.scaling import _chinchilla_figures as figures
from orrery.experiments.scaling._chinchilla_scores import (
    drift,
    far_from_kaplan,
    foresight,
    nearer_to_half,
)
from orrery.experiments.scaling._ladder import (
    Recipe,
    climb,
    frequencies_loss,
    operations,
    rung,
    shuffled,
)
from orrery.experiments.scaling._laws import examine
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.scaling.compute_6nd import Shape

CLAIMS = (
    Claim("kaplan-extrap", effect=foresight, margin=0.01,
        text="Kaplan's law errs on larger networks by less than 10 %, and than what scaling gains",
    ),
    Claim(
        "kaplan-exponents",  # of the size of Kaplan's: within a factor of two
        effect=lambda m: np.log(2) - far_from_kaplan(m),
        text="the exponents of the loss in N, D and C are Kaplan's, to a factor of two",
    ),
    Claim(
        "kaplan-order",
        effect=lambda m: m["exponent/data"] - max(m["exponent/parameters"], m["exponent/compute"]),
        text="of the three exponents that of the data is the largest",
    ),
    Claim("kaplan-alloc", effect=lambda m: m["mean/a"] - m["mean/a with embeddings"],
        text="leaving embeddings out of N raises the exponent of N ~ C^a",
    ),
    Claim("kaplan-6nd", effect=lambda m: 0.01 - m["operations/off by"],
        text="the operations counted are 6ND and the terms it leaves out, to a hundredth",
    ),
    # nearer to a half than half the way to Kaplan's 0.73; N as Chinchilla's paper counts it
    Claim("chinchilla-half", effect=lambda m: 0.115 - abs(m["mean/a with embeddings"] - 0.5),
        text="the best size grows as C^a with a nearer to a half than to Kaplan's 0.73",
    ),
    Claim("chinchilla-alphabeta", effect=nearer_to_half,
        text="the allocation's exponent is nearer to a half than those of the loss",
    ),
    Claim("chinchilla-20", effect=drift, margin=0.2,
        text="over ten times the compute the best tokens a parameter drift by a fifth",
    ),
    Claim("chinchilla-deriv", effect=lambda m: 1e-4 - m["chinchilla/log optimum off by"],
        text="the closed form of the best size is what minimising the law finds",
    ),
    Claim("chinchilla-data-more", effect=lambda m: m["inside"], margin=0.01,
        text="at one budget fewer and more parameters than the best both cost a hundredth of a nat",
    ),
    Claim("hestness-form", effect=lambda m: m["floor gain"],
        text="with a floor a training curve foretells its own last octave better",
    ),
    Claim("scaling-diminish", effect=lambda m: m["early gain"] - m["late gain"],
        text="a doubling of compute brings less above the budget than below it",
    ),
    Claim("scaling-no-diminish", effect=lambda m: m["halvings of data"], margin=1.0,
        text="the widest network needs less than half the data for the narrowest one's loss",
    ),
    Finding(
        "Kaplan's law, which has no floor, errs less on larger networks than Chinchilla's",
        effect=lambda m: m["chinchilla/worst error"] - m["kaplan/worst error"],
    ),
    Control(
        "a planted law's allocation is found to a tenth from the same sizes and tokens",
        effect=lambda m: 0.1 - m["recovery"],
    ),
    Control(
        "every rung learns at least how frequent the characters are, to a twentieth of a nat",
        effect=lambda m: m["unigram"] + 0.05 - m["worst rung"],
    ),
)  # fmt: skip
ABLATIONS = ("shuffled_text",)
SCALES = {
    "smoke": {"widths": (8, 12, 16), "held_out": (24,), "budget": 5e7, "reach": 2.0, "batch": 2,
              "first_tokens": 256.0, "most_tokens": 1_500.0, "windows": 16, "resamples": 5},
    "tour": {"widths": (8, 12, 16, 24), "held_out": (24, 32), "budget": 3e9, "reach": 4.0,
             "first_tokens": 16_000.0, "most_tokens": 100_000.0},
    "large": {"widths": (16, 24, 32, 48, 64, 96, 128, 192), "held_out": (192, 288), "budget": 6e12,
              "most_tokens": 2e8, "first_tokens": 1e6, "depth": 4, "context": 256, "batch": 32},
}  # fmt: skip


class ChinchillaFitSettings(Settings):
    """A smoke run and a tour have fewer rungs and smaller budgets."""

    widths: tuple[Annotated[int, Range(4, 1_024)], ...] = (8, 12, 16, 20, 24, 32, 40)
    """Rungs that the laws are fitted to."""
    held_out: tuple[Annotated[int, Range(4, 2_048)], ...] = (48, 64, 96)
    """Rungs that are trained up to `reach` budgets."""
    budget: Annotated[float, Range(1e6, 1e20, "operations")] = 2e10
    """Largest compute, 6 N D, of the runs that laws are fitted to."""
    reach: Annotated[float, Range(1.5, 1_000)] = 6.0
    """How many budgets the held-out runs are trained with."""
    first_tokens: Annotated[float, Range(1, 1e12, "tokens")] = 48_000.0
    """Where a training curve starts."""
    most_tokens: Annotated[float, Range(1, 1e13, "tokens")] = 550_000.0
    """Where a training curve ends if compute does not end it."""
    depth: Annotated[int, Range(1, 48)] = 2
    """Blocks of every rung."""
    heads: Annotated[int, Range(1, 64)] = 2
    """Attention heads in a block."""
    context: Annotated[int, Range(8, 4_096, "tokens")] = 32
    """Length of a window."""
    batch: Annotated[int, Range(1, 4_096, "windows")] = 8
    """Windows in a batch."""
    rate: Annotated[float, Range(1e-5, 10.0)] = 0.27
    """Learning rate times width."""
    warmup: Annotated[int, Range(1, 100_000)] = 32
    """Steps over which the rate rises."""
    windows: Annotated[int, Range(1, 100_000)] = 512
    """Held-out windows that every point is scored on."""
    resamples: Annotated[int, Range(2, 100_000)] = 300
    """Of the sizes, for the intervals of the allocation."""

    def recipe(self) -> Recipe:
        """What all rungs have in common."""
        return Recipe(depth=self.depth, heads=self.heads, context=self.context, batch=self.batch,
                      rate=self.rate, warmup=self.warmup)  # fmt: skip

    def token_counts(self, parameters: int, reach: float) -> list[float]:
        """Where a size is scored: on the lines of equal compute, half an octave apart."""
        top = self.budget * reach / (6 * parameters)
        counts = [top * 2 ** (-k / 2) for k in range(40)]
        kept = [count for count in counts if self.first_tokens <= count <= self.most_tokens]
        return kept if len(kept) > 1 else counts[:2]


def run(settings: ChinchillaFitSettings, lab: Lab) -> Measured:
    """Climb the ladder, fit the laws below the budget, and ask them about the runs above it."""
    corpus = Corpus.from_split(shakespeare.split())
    if lab.ablated("shuffled_text"):
        corpus = shuffled(corpus, lab)
    x, y = sample_windows(corpus.held_out, settings.context, settings.windows, lab.rng("held out"))
    windows = torch.cat([x, y[:, -1:]], dim=1).to(lab.device)
    recipe, vocab = settings.recipe(), len(corpus.characters)
    widths = tuple(dict.fromkeys((*settings.widths, *settings.held_out)))
    shapes = {
        w: Shape(depth=recipe.depth, width=w, context=recipe.context, vocab=vocab) for w in widths
    }
    curves = {}
    for w, shape in shapes.items():
        reach = settings.reach if w in settings.held_out else 1.0
        counts = settings.token_counts(shape.parameters, reach)
        curves[w] = climb(w, counts, recipe, corpus, windows, lab)
    measured = {f"loss/{w}/{d}": loss for w, curve in curves.items() for d, loss in curve.items()}
    measured |= lab.measure(
        "laws", lambda: examine(curves, shapes, settings.budget, settings.resamples, lab)
    )
    measured |= operations({w: rung(w, vocab, recipe) for w in (widths[0], widths[-1])}, shapes)
    measured["unigram"] = frequencies_loss(corpus, y)
    measured["worst rung"] = max(min(curve.values()) for curve in curves.values())
    return measured


def draw(results: Sequence[Measured], settings: ChinchillaFitSettings) -> dict[str, Figure]:
    """Curves and profiles of the mean over the seeds; exponents with their intervals."""
    runs = figures.mean_runs(results, settings.depth)
    return {
        "loss-against-compute": figures.loss_against_compute(runs, settings.budget),
        "isoflop-profiles": figures.isoflop_profiles(runs, settings.budget),
        "allocation": figures.allocation(results),
    }
