"""A task put to a language model in words, with answered examples, and how right it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from orrery.data.reviews import Reviews
from orrery.inference.step import PlaceCache
from orrery.lab import Measured
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.local_llm import LocalLlm

CLEAR = 1.0
"""How far from the middle, of four, readers must have put a sentence."""
Cache = KeyValueCache | PlaceCache
Chances = Float[Tensor, " v"]  # their logarithms
Example = tuple[str, int]  # a sentence, and 1 if it is for the film, else 0


@dataclass(frozen=True, slots=True)
class Wording:
    """How the task is put."""

    name: str
    question: str
    answers: tuple[str, str]
    """Against and for."""

    def asked(self, sentence: str) -> str:
        """Up to where the answer begins."""
        return f"Review: {sentence}\n{self.question}"

    def answered(self, examples: Sequence[Example]) -> str:
        """One after the other."""
        return "".join(f"{self.asked(text)}{self.answers[side]}\n" for text, side in examples)


WORDINGS = (
    Wording("sentiment", "Sentiment:", (" negative", " positive")),
    Wording("film", "The film is", (" bad", " good")),
    Wording("answer", "Answer:", (" negative", " positive")),
)


def balanced(reviews: Reviews, each: int, rng: np.random.Generator) -> list[Example]:
    """So many clear sentences of each side, a pair after the other, either side first."""
    texts, sides = reviews.sides(CLEAR)
    both = [rng.permutation(np.flatnonzero(sides == side))[:each] for side in (0, 1)]
    pairs = [rng.permutation(pair) for pair in zip(*both, strict=True)]
    return [(texts[i], int(sides[i])) for pair in pairs for i in pair]


def scored(
    llm: LocalLlm, wording: Wording, examples: Sequence[Example], tests: Sequence[Example],
    rng: np.random.Generator,
) -> Measured:  # fmt: skip
    """How right the model is about the tests after these examples, which it reads once."""
    answers, kept = numbers(llm, wording), read(llm, wording.answered(examples))

    def asked(sentence: str) -> Chances:
        return following(llm, wording.asked(sentence), kept.beginning(len(kept)))

    found = torch.stack([asked(sentence) for sentence, _ in tests])
    sides = np.array([side for _, side in tests])
    leads = (found[:, answers[1]] - found[:, answers[0]]).double().numpy()
    neutral = asked("N/A")
    bias = float(neutral[answers[1]] - neutral[answers[0]])
    own = found.argmax(dim=1).numpy() == np.array(answers)[sides]
    return {
        "own": float(own.mean()),
        "chosen": float(((leads > 0) == sides).mean()),
        "calibrated": float(((leads > bias) == sides).mean()),
        "auc": float(roc_auc_score(sides, leads)),
        "shuffled": float(roc_auc_score(rng.permutation(sides), leads)),
        "mass": float(found[:, answers].exp().sum(dim=1).mean()),
    }


def gap(llm: LocalLlm, wording: Wording, examples: Sequence[Example], sentence: str) -> float:
    """In nats, by how much examples read before change what is found of the two answers."""
    before, asked = wording.answered(examples), wording.asked(sentence)
    parts = following(llm, asked, read(llm, before))
    whole = following(llm, before + asked, llm.model.new_cache())
    return float((parts - whole)[numbers(llm, wording)].abs().max())


def numbers(llm: LocalLlm, wording: Wording) -> list[int]:
    """The tokens of the two answers."""
    found = [llm.tokenizer.encode(answer) for answer in wording.answers]
    assert all(len(answer) == 1 for answer in found), found
    return [answer[0] for answer in found]


def read(llm: LocalLlm, text: str) -> Cache:
    """What the model keeps of a text, which may be empty."""
    cache: Cache = llm.model.new_cache()
    if text:
        following(llm, text, cache)
    return cache


def following(llm: LocalLlm, text: str, cache: Cache) -> Chances:
    """The logarithm of each token's chance to come after the text, which the cache then holds."""
    scores: Tensor = llm.model(torch.tensor([llm.tokenizer.encode(text)]), cache)
    return scores[0].float().log_softmax(dim=-1)
