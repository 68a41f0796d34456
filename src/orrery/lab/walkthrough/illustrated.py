"""The page that lets a reader look into the heads of a model, for a sentence of their own."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from orrery.errors import UsageError
from orrery.lab.report import PAGES, render
from orrery.lab.walkthrough.thumbnail import thumbnail
from orrery.lab.words import Language, words
from orrery.systems.language.illustrated_transformer import (
    Insides,
    by_heart,
    look_inside,
    tokens_by_heart,
)

MOST_WORDS = 48
"""More would be too small to see."""
PRONOUNS = ("it", "they", "he", "she", "them", "him", "her")
"""The first query shown is one of these, if the sentence has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A sentence as a model read it."""

    sentence: str
    words: tuple[str, ...]
    """Its tokens."""
    insides: Insides
    model: str
    """A key of the page's words: which model it was."""


def read_with_minilm(sentence: str) -> Reading:
    """What the published MiniLM makes of a sentence.

    Raises:
        OrreryError: the weights cannot be had.
        UsageError: the sentence is empty or too long.
    """
    from orrery.data.minilm import folder
    from orrery.systems.language.sentence_embedding import SentenceEncoder

    _check(sentence.split())
    encoder = SentenceEncoder.from_pretrained(folder())
    names = {n: piece for piece, n in encoder.reader.tokenizer.vocabulary.pieces.items()}
    tokens = torch.tensor([encoder.reader.numbers(sentence)])
    shown = _check([names[token] for token in tokens[0].tolist()])
    insides = look_inside(encoder.model, lambda: encoder.model(tokens))
    return Reading(sentence=sentence, words=shown, insides=insides, model="minilm")


def read_by_heart(sentence: str, *, steps: int = 120) -> Reading:
    """What a small model makes of the one sentence that it has learned.

    Raises:
        UsageError: the sentence is empty or too long.
    """
    shown = _check(sentence.split())
    model = by_heart(len(shown), steps=steps)
    insides = look_inside(model, lambda: model(tokens_by_heart(len(shown))))
    return Reading(sentence=sentence, words=shown, insides=insides, model="by_heart")


def _check(shown: list[str]) -> tuple[str, ...]:
    if not 2 <= len(shown) <= MOST_WORDS:
        raise UsageError(f"the sentence must have 2 to {MOST_WORDS} tokens, got {len(shown)}")
    return tuple(shown)


def write_illustrated(reading: Reading, in_language: Language) -> str:
    """The page, as HTML that needs no other file."""
    w, insides = words(in_language), reading.insides
    layers, heads, _, size = insides.q.shape
    script = (PAGES / "illustrated.js").read_text(encoding="utf8")
    names = ("q", "k", "v", "scores", "weights", "z")
    data: dict[str, Any] = {
        "words": reading.words, "layers": layers, "heads": heads, "size": size,
        "start": first_choice(reading),
        "text": {"summary": w["see_summary"], "vector": w["see_vector"]},
        **{name: numbers(getattr(insides, name)) for name in names},
    }  # fmt: skip
    maps = [
        [
            {
                "picture": thumbnail(insides.weights[layer, head].double().numpy()),
                "alt": w["see_map"].format(layer=layer + 1, head=head + 1),
            }
            for head in range(heads)
        ]
        for layer in range(layers)
    ]
    return render(
        "illustrated.html", in_language, sentence=reading.sentence, tokens=reading.words,
        model=w[reading.model], layers=layers, heads=heads, size=size, maps=maps,
        data=_json(data), script=Markup(script), script_hash=script_hash(script),
        page_style=Markup((PAGES / "illustrated.css").read_text(encoding="utf8")),
    )  # fmt: skip


def first_choice(reading: Reading) -> tuple[int, int, int]:
    """Layer, head and query to begin with: where a pronoun looks back the hardest.

    Words beside it do not count, nor do marks. Without a pronoun any word may look anywhere.
    """
    t = len(reading.words)
    words_at = torch.tensor([word.strip(".,;:!?").isalpha() for word in reading.words])
    place = torch.arange(t)
    back = place[:, None] - place
    asks = [i for i, word in enumerate(reading.words) if word.lower() in PRONOUNS]
    queries = torch.zeros(t, dtype=torch.bool)
    queries[asks or slice(None)] = True
    far = back > 1 if asks else back.abs() > 1
    allowed = far & words_at & queries[:, None]
    looks = reading.insides.weights.masked_fill(~allowed, -1.0).flatten(-2).max(dim=-1)
    layer, head = divmod(int(looks.values.argmax()), looks.values.shape[1])
    return layer, head, int(looks.indices[layer, head]) // t


def numbers(tensor: Tensor) -> str:
    """All numbers in a row: float32, low byte first, as base64."""
    raw = tensor.detach().float().contiguous().numpy().astype("<f4").tobytes()
    return base64.b64encode(raw).decode()


def script_hash(script: str) -> str:
    """What the page's policy knows its script by; no other may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return Markup(text)
