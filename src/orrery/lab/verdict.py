"""From what the seeds measured to a verdict on each claim: holds, fails or undecided."""

import math
from collections.abc import Callable, Sequence

from orrery.errors import NonFiniteError, OrreryError
from orrery.lab.claim import Claim, Control, Measured, Question
from orrery.lab.statistics import LEVEL, Estimate, estimate, holm
from orrery.lab.words import NOT_JUDGED
from orrery.plan.record import Judgement, Verdict


def judge(
    questions: Sequence[Question],
    results: Sequence[Measured],
    *,
    sentence: Callable[[str], str],
    gated: bool = True,
) -> list[Judgement]:
    """Judge every question over the seeds' results, in the order of `questions`.

    Controls come first: unless each of them holds, no claim is judged (`gated`; an ablated run
    is judged regardless, since it may break its controls). Claims and findings share one Holm
    correction, controls another. `sentence` gives the text of a plan's claim.

    Raises:
        OrreryError: an effect asks for a quantity that was not measured.
        NonFiniteError: an effect is NaN or infinite.
    """
    controls = [q for q in questions if isinstance(q, Control)]
    claims = [q for q in questions if not isinstance(q, Control)]
    judged: dict[int, Judgement] = {}
    for family in (controls, claims):
        estimates = [estimate(effects(q, results), q.margin) for q in family]
        corrected = holm([e.p for e in estimates])
        for question, found, p in zip(family, estimates, corrected, strict=True):
            judged[id(question)] = _judgement(question, found, p, len(results), sentence)
    broken = [judged[id(c)].text for c in controls if judged[id(c)].verdict != "holds"]
    if broken and gated:
        reason = NOT_JUDGED + "; ".join(broken)
        for claim in claims:
            old = judged[id(claim)]
            judged[id(claim)] = old.model_copy(update={"verdict": "undecided", "reason": reason})
    return [judged[id(q)] for q in questions]


def effects(question: Question, results: Sequence[Measured]) -> list[float]:
    """The effect of `question` in each seed.

    Raises:
        OrreryError: it asks for a quantity that was not measured.
        NonFiniteError: it is NaN or infinite.
    """
    values = []
    for seed, measured in enumerate(results):
        try:
            value = float(question.effect(measured))
        except KeyError as error:
            raise OrreryError(f"{name_of(question)!r} needs {error}, not measured") from None
        except ZeroDivisionError:
            value = math.inf
        if not math.isfinite(value):
            raise NonFiniteError(f"effect of {name_of(question)!r}, result {seed}: {value}")
        values.append(value)
    return values


def name_of(question: Question) -> str:
    """The id of a plan's claim, the text of anything else."""
    return question.id if isinstance(question, Claim) else question.text


def _judgement(
    question: Question, found: Estimate, p: float, seeds: int, sentence: Callable[[str], str]
) -> Judgement:
    verdict: Verdict = "undecided"
    if p < LEVEL:
        verdict = "holds" if found.mean > question.margin else "fails"
    one = seeds < 2
    if one:
        reason = "one seed gives no interval: run more"
    elif verdict == "undecided":
        reason = f"the effect is not told apart from its margin (p = {p:.2g} after Holm)"
    else:
        side = "above" if verdict == "holds" else "below"
        reason = f"the effect lies {side} its margin (p = {p:.2g} after Holm, {seeds} seeds)"
    return Judgement(
        id=question.id if isinstance(question, Claim) else None,
        text=question.text or sentence(name_of(question)),
        verdict=verdict, effect=found.mean, margin=question.margin,
        low=None if one else found.low, high=None if one else found.high,
        p=None if one else p, seeds=seeds, reason=reason,
    )  # fmt: skip
