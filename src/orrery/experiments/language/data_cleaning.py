"""Does it pay to clean a corpus before a language model reads it?

Shakespeare and the King James Bible lie among what a crawl brings with it: near-copies of a few
documents, Spanish, Python, notices, garbled scans, and passages of the held-out text. The pipeline
does not know which is which. Then the same GPT learns as many characters from the corpus as it
was collected, from what the pipeline keeps, and from what it keeps without looking for
near-copies; all are scored on the same held-out text.

The dirt is planted, so it is known what should be found; that also means that there is as much of
it as was planted. Passages of the held-out text are taken out for every arm, or the corpus as it
was collected would have seen the test.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data.batches import sample_windows
from orrery.data.characters import Characters
from orrery.experiments.language._dirty_corpus import DirtyCorpus, dirty_corpus
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.compression import bits
from orrery.systems.language.autoregressive import surprise
from orrery.systems.language.data_pipeline import STAGES, DataPipeline, DataPipelineConfig
from orrery.systems.language.decontamination import Decontamination, DecontaminationConfig
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.language_id import LanguageId, LanguageIdConfig
from orrery.systems.language.quality_filter import Surprise
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("collected", "no_dedup", "cleaned")
PLANTED = ("copies", "spanish", "code", "notices", "garbled", "leaked")

CLAIMS = (
    Finding(
        "cleaning lowers the held-out loss by a twentieth of a bit a character at equal training",
        effect=lambda m: m["collected"] - m["cleaned"], margin=0.05,
    ),
    Finding(
        "taking out near-copies is part of that",
        effect=lambda m: m["no_dedup"] - m["cleaned"],
    ),
    Control(
        "of every kind of dirt at least nine tenths are found",
        effect=lambda m: 0.1 - max(m[f"kept/{kind}"] for kind in PLANTED),
    ),
    Control("of clean text nine tenths are kept", effect=lambda m: m["kept/clean"], margin=0.9),
)  # fmt: skip
ABLATIONS = ("random_filter",)
SEEDS = 4
SCALES = {
    "smoke": {"clean": 80, "dirt": 12, "steps": 3, "context": 16, "held_out": 8},
    "tour": {"clean": 300, "dirt": 75, "steps": 160, "context": 64},
    "large": {"clean": 8_000, "dirt": 2_000, "steps": 5_000, "batch": 32, "context": 256,
              "depth": 6, "heads": 6, "head_size": 64},
}  # fmt: skip


class DataCleaningSettings(Settings):
    """A smoke run reads a few documents for a moment."""

    clean: Annotated[int, Range(40, 8_000, "documents")] = 1_200
    """Documents of English worth reading."""
    dirt: Annotated[int, Range(4, 2_000, "documents")] = 300
    """Documents of each kind of dirt; of near-copies five times as many."""
    steps: Annotated[int, Range(1, 100_000)] = 250
    """Optimiser steps of each network."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    context: Annotated[int, Range(8, 1_024, "characters")] = 128
    """Length of a window."""
    depth: Annotated[int, Range(1, 24)] = 2
    """Blocks of the GPT."""
    heads: Annotated[int, Range(1, 16)] = 3
    """Attention heads in a block."""
    head_size: Annotated[int, Range(4, 256)] = 32
    """Of a head's keys; the GPT is `heads` times as wide."""
    rate: Annotated[float, Range(1e-6, 0.1)] = 0.01
    """Highest learning rate."""
    held_out: Annotated[int, Range(1, 10_000, "windows")] = 256
    """Held-out windows that are scored."""


def run(settings: DataCleaningSettings, lab: Lab) -> Measured:
    """Clean the corpus, and let every arm read its part of it."""
    corpus = dirty_corpus(settings.clean, settings.dirt, lab.numpy_rng("corpus"))
    pipeline = built(corpus, lab)
    whole = pipeline.run(corpus.documents)
    kept = {
        "collected": pipeline.run(corpus.documents, left_out=STAGES[:-1]).kept,
        "no_dedup": pipeline.run(corpus.documents, left_out=("duplicates",)).kept,
        "cleaned": whole.kept,
    }
    if lab.ablated("random_filter"):  # as many documents, whichever
        drawn = lab.numpy_rng("filter").permutation(kept["collected"])[: len(whole.kept)]
        kept["cleaned"] = tuple(int(place) for place in drawn)
    lab.table("dropped", [whole.counts()])
    measured = {f"kept/{kind}": corpus.share(kind, set(whole.kept)) for kind in set(corpus.kinds)}
    characters = Characters.from_text("\n".join(corpus.documents), unknown=True, at_least=20)
    ids = torch.from_numpy(characters.encode(corpus.held_out))
    x, y = sample_windows(ids, settings.context, settings.held_out, lab.rng("held out"))
    windows = torch.cat([x, y[:, -1:]], dim=1).to(lab.device)
    for arm in ARMS:
        text = "\n\n".join(corpus.documents[place] for place in kept[arm])
        gpt = trained(
            arm, torch.from_numpy(characters.encode(text)), len(characters), settings, lab
        )
        measured[arm] = bits(float(surprise(gpt, windows).mean()))
        measured[f"characters/{arm}"] = float(len(text))
    return measured


def built(corpus: DirtyCorpus, lab: Lab) -> DataPipeline:
    """The pipeline, told what clean text is like by documents that are not in the corpus."""
    half = len(corpus.reference) // 2
    clean = Surprise("\n\n".join(corpus.reference[:half]))
    return DataPipeline(
        DataPipelineConfig(most_bits=clean.limit(corpus.reference[half:], 0.99)),
        languages=LanguageId(LanguageIdConfig(), corpus.samples), clean=clean,
        held_out=Decontamination(DecontaminationConfig(), [corpus.held_out]),
        generator=lab.numpy_rng("hashes"),
    )  # fmt: skip


def trained(arm: str, tokens: Tensor, vocab: int, settings: DataCleaningSettings, lab: Lab) -> Gpt:
    """A GPT that has read its arm's text; all start alike and read equally much."""
    torch.manual_seed(lab.rng("weights").initial_seed())
    gpt = Gpt(GptConfig(
        vocab=vocab, context=settings.context, depth=settings.depth, heads=settings.heads,
        width=settings.heads * settings.head_size,
    )).to(lab.device)  # fmt: skip
    use_fast_products(gpt)
    optimisers = muon_and_adamw(gpt, settings.rate)
    for step in lab.steps(arm, settings.steps, state=(gpt, *optimisers)):
        batch = sample_windows(tokens, settings.context, settings.batch, lab.rng("batch", step))
        loss = gpt.loss(*(part.to(lab.device) for part in batch))
        gpt.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=20))
            optimiser.step()
        lab.log(bits=bits(loss.item()))
    return gpt


def draw(results: Sequence[Measured], settings: DataCleaningSettings) -> dict[str, Figure]:
    """Bits a character of each arm, and what is kept of each kind."""
    figure, (losses, shares) = new_figure(8.4, 3.2, columns=2)
    mean, half = over_seeds(results, list(ARMS))
    losses.bar(range(len(ARMS)), mean, yerr=half, color=COLOURS[: len(ARMS)], ecolor="#9aa0aa")
    losses.set_xticks(range(len(ARMS)), [arm.replace("_", "\n") for arm in ARMS])
    losses.set(title="Loss", ylabel="bits a character, held out", ylim=(min(mean) * 0.8, None))
    kinds = ("clean", *PLANTED)
    mean, half = over_seeds(results, [f"kept/{kind}" for kind in kinds])
    shares.bar(range(len(kinds)), mean, yerr=half, color=COLOURS[0], ecolor="#9aa0aa")
    shares.set_xticks(range(len(kinds)), list(kinds), rotation=30)
    shares.set(title="Kept by the pipeline", ylabel="share of documents")
    return {"cleaning": figure}
