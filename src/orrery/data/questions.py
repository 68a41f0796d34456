"""Questions with the answers that are wanted: what a language model is fine-tuned on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orrery.data import movie_snippets, tang_poems
from orrery.errors import OrreryError

HELD_OUT_SHARE = 10  # one question in so many


@dataclass(frozen=True, slots=True)
class Question:
    """What was said, and the answer."""

    messages: tuple[dict[str, str], ...]
    """Each with its role and content, the last one the user's."""
    answer: str


@dataclass(frozen=True, slots=True)
class Questions:
    """To learn from, and to test on."""

    training: tuple[Question, ...]
    held_out: tuple[Question, ...]


def asked(prompt: str, answer: str) -> Question:
    """A question without anything before it."""
    return Question(({"role": "user", "content": prompt},), answer)


def movies() -> Questions:
    """Is a sentence for a film or against it? The parts are those of `movie_snippets.split`."""
    parts = movie_snippets.split()

    def questions(part: int) -> tuple[Question, ...]:
        texts, sides = parts[part].sides(0.5)
        return tuple(
            asked(
                "Is this sentence from a review for the film or against it? "
                f"Answer with one word, for or against.\n\n{text}",
                "for" if side else "against",
            )
            for text, side in zip(texts, sides.tolist(), strict=True)
        )

    return Questions(questions(0), questions(2))


def poems() -> Questions:
    """Write a poem of the Tang with this title; every twentieth poem is held out."""
    parts: tuple[list[Question], list[Question]] = ([], [])
    for i, poem in enumerate(tang_poems.poems(), start=1):
        held_out = i % tang_poems.HELD_OUT_EVERY == 0
        parts[held_out].append(asked(f"寫一首唐詩，題為《{poem.title}》。", "\n".join(poem.lines)))
    return Questions(*map(tuple, parts))


SETS: dict[str, Callable[[], Questions]] = {"movies": movies, "poems": poems}
"""By the name that they have on the command line."""


def read(path: Path, *, seed: int = 0) -> Questions:
    """Questions out of a file, one JSON object a line; a tenth is held out by chance.

    A line has "prompt" and "answer", or "messages" of which the last is the assistant's.

    Raises:
        OrreryError: the file cannot be read, or a line is none of these.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OrreryError(f"cannot read {path}: {error}") from None
    found = [
        _question(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()
    ]
    if len(found) < 2:
        raise OrreryError(f"{path} must hold at least two questions, got {len(found)}")
    order = np.random.default_rng(seed).permutation(len(found))
    kept_out = max(1, len(found) // HELD_OUT_SHARE)
    shuffled = [found[i] for i in order]
    return Questions(tuple(shuffled[kept_out:]), tuple(shuffled[:kept_out]))


def _question(line: str, where: str) -> Question:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise OrreryError(f"{where} is not JSON: {error}") from None
    match value:
        case {"prompt": str(prompt), "answer": str(answer)}:
            question = asked(prompt, answer)
        case {"messages": [*before, {"role": "assistant", "content": str(answer)}]} if before:
            question = Question(_messages(before, where), answer)
        case _:
            raise OrreryError(
                f'{where} must have "prompt" and "answer", or "messages" that end with the '
                "assistant's"
            )
    if not question.answer:
        raise OrreryError(f"{where} has an empty answer")
    return question


def _messages(values: Sequence[object], where: str) -> tuple[dict[str, str], ...]:
    messages = []
    for value in values:
        match value:
            case {"role": "system" | "user" | "assistant" as role, "content": str(content)}:
                messages.append({"role": role, "content": content})
            case _:
                raise OrreryError(f"{where}: a message must have role and content, got {value!r}")
    return tuple(messages)
