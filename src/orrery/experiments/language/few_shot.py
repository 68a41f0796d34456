"""Does showing answered examples help a real small model, and what do they teach it?

SmolLM2 (135 million weights, four bits) says of sentences from film reviews whether they are for
the film or against it, after 0, 1, 2, 4 and 8 answered examples, in three wordings of the task and
with several sets of examples each. Its own next word can be right; of the two answers the likelier
can be; and the area under the curve (AUC) is the chance that a sentence for a film scores above one
against, whatever threshold there is.

With half of the examples' answers wrong, an example shows the task but not its rule (Min et al.
2022, arXiv:2202.12837: little is lost). Calibrated, a score counts from that of "N/A" in place of
a sentence (Zhao et al. 2021, arXiv:2102.09690: much is won). In the ablation each sentence makes
room for another one, so that nothing can be better than guessing.
"""

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Annotated

from matplotlib.figure import Figure

from orrery.data import movie_snippets, smollm2
from orrery.experiments.language._answered import WORDINGS, Wording, balanced, gap, scored
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.local_llm import LocalLlm

SHOTS = (0, 1, 2, 4, 8)
ARMS = (*map(str, SHOTS), "half-wrong", "all-wrong")

CLAIMS = (
    Finding(
        "after eight examples its own next word is the right answer more often than guessing is, "
        "and than it was without any",
        effect=lambda m: m["8/own"] - max(0.5, m["0/own"]),
    ),
    Finding(
        "eight examples raise the accuracy of choosing between the two answers",
        effect=lambda m: m["8/chosen"] - m["0/chosen"],
    ),
    Finding("eight examples raise the AUC", effect=lambda m: m["8/auc"] - m["0/auc"]),
    Finding(
        "one example teaches what an answer looks like: half of all chance moves to the two",
        effect=lambda m: m["1/mass"] - m["0/mass"],
        margin=0.5,
    ),
    Finding(
        "half of eight answers wrong costs less than a twentieth of AUC",
        effect=lambda m: 0.05 - (m["8/auc"] - m["half-wrong/auc"]),
    ),
    Finding(
        "all eight answers wrong costs AUC: the rule is read off them too",
        effect=lambda m: m["8/auc"] - m["all-wrong/auc"],
    ),
    Finding(
        "calibrated by N/A, choosing is more accurate on average over 0 to 8 examples",
        effect=lambda m: fmean(m[f"{k}/calibrated"] - m[f"{k}/chosen"] for k in SHOTS),
    ),
    Control(
        "the sentences can be told apart: without an example the AUC is over 0.6",
        effect=lambda m: m["0/auc"],
        margin=0.6,
    ),
    Control(
        "told which is which at random, the AUC is a half, to a tenth",
        effect=lambda m: 0.1 - abs(fmean(m[f"{arm}/shuffled"] for arm in ARMS) - 0.5),
    ),
    Control(
        "read once and kept, examples give the scores of reading all again, to a tenth of a nat",
        effect=lambda m: 0.1 - m["gap"],
    ),
)
ABLATIONS = ("other_sentences",)
SCALES = {
    "smoke": {"pairs": 1, "wordings": 1, "sets": 1},
    "tour": {"wordings": 1},
    "large": {"pairs": 100, "sets": 20},
}


class FewShotSettings(Settings):
    """A smoke run asks about two sentences in one wording, a tour about more."""

    wordings: Annotated[int, Range(1, 3)] = 3
    """How many of the three wordings are tried."""
    sets: Annotated[int, Range(1, 1_000)] = 4
    """Of examples, shown in each wording."""
    pairs: Annotated[int, Range(1, 400)] = 4
    """Of a sentence for its film and one against, asked about after each set."""


def run(settings: FewShotSettings, lab: Lab) -> Measured:
    """Ask in every wording, with several sets of examples; what counts is the mean over all."""
    llm, measured = LocalLlm(smollm2.load()), Measured()
    for wording in WORDINGS[: settings.wordings]:
        found = [
            lab.measure(f"{wording.name} {i}", partial(ask, llm, wording, i, settings, lab))
            for i in range(settings.sets)
        ]
        for key in found[0]:
            measured[f"{wording.name}/{key}"] = fmean(one[key] for one in found)
    names = [key.removeprefix("sentiment/") for key in measured if key.startswith("sentiment/")]
    tried = [wording.name for wording in WORDINGS[: settings.wordings]]
    return measured | {name: fmean(measured[f"{one}/{name}"] for one in tried) for name in names}


def ask(
    llm: LocalLlm, wording: Wording, number: int, settings: FewShotSettings, lab: Lab
) -> Measured:
    """Of one wording and one set of examples: every arm asked about the same sentences."""
    train, _, test = movie_snippets.split()
    rng = lab.numpy_rng(wording.name, number)
    shown, tests = balanced(train, max(SHOTS) // 2, rng), balanced(test, settings.pairs, rng)
    if lab.ablated("other_sentences"):
        others = balanced(test, settings.pairs, lab.numpy_rng(f"others {wording.name}", number))
        tests = [(text, side) for (text, _), (_, side) in zip(others, tests, strict=True)]
    wrong = rng.permutation(len(shown) // 2)[: len(shown) // 4]  # pairs, so that sides stay even
    arms = {str(k): shown[:k] for k in SHOTS}
    arms["half-wrong"] = [(t, s ^ int(i // 2 in wrong)) for i, (t, s) in enumerate(shown)]
    arms["all-wrong"] = [(text, 1 - side) for text, side in shown]
    measured = {"gap": gap(llm, wording, shown, tests[-1][0])}
    for arm, examples in arms.items():
        one = scored(llm, wording, examples, tests, rng)
        measured |= {f"{arm}/{name}": value for name, value in one.items()}
    return measured


def draw(results: Sequence[Measured], settings: FewShotSettings) -> dict[str, Figure]:
    """Each measure by the number of examples; and the AUC when their answers are wrong."""
    figure, axes = new_figure(7.6, 3.4, columns=2, sharey=True)
    names = {"own": "own word right", "chosen": "likelier right", "calibrated": "calibrated",
             "auc": "AUC", "mass": "chance of the two"}  # fmt: skip
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        mean, half = over_seeds(results, [f"{k}/{name}" for k in SHOTS])
        axes[0].errorbar(range(len(SHOTS)), mean, yerr=half, color=colour, marker="o", label=label)
    axes[0].set(title="Three wordings", xlabel="examples", ylim=(0, 1.02))
    axes[0].set_xticks(range(len(SHOTS)), map(str, SHOTS))
    axes[0].legend()
    arms = ("0", "8", "half-wrong", "all-wrong")
    mean, half = over_seeds(results, [f"{arm}/auc" for arm in arms])
    axes[1].bar(arms, mean, yerr=half, color=COLOURS[:4], ecolor="#9aa0aa")
    axes[1].set(title="AUC by the examples' answers")
    return {"examples": figure}
