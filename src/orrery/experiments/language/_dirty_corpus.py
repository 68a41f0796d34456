"""A dirty corpus: English of two kinds, and what a crawl would bring with it, planted and known."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from orrery.data import king_james, python_stdlib, reina_valera, shakespeare, sword

CHARACTERS = 700
"""Length of a document, about: it ends where a line does."""
COPIED, CHANGED = 30, 0.02  # documents that are copied; the share of words that a copy has changed
NOTICES = (
    "Please read the terms of use and the privacy policy of site {n} before you go on to page {m}.",
    "All rights reserved by the owners of store {n}; this page was last changed {m} days ago.",
    "Home | About | Contact | Help {n} | Log in | Basket ({m}) | Follow us and share with friends!",
    "Your browser does not support JavaScript {n}.{m}; some of the features will not be shown.",
    "{n} people have looked at this item in the last {m} hours. Buy now and save on delivery!",
)


@dataclass(frozen=True, kw_only=True)
class DirtyCorpus:
    """Documents in random order, and what each is: only the judges may look at that."""

    documents: list[str]
    kinds: list[str]
    reference: list[str]
    """Clean documents that are none of these: what clean text is like."""
    samples: dict[str, str]
    """A text of each language, none of it among the documents."""
    held_out: str

    def share(self, kind: str, kept: set[int]) -> float:
        """The share of the documents of a kind that were kept."""
        places = [i for i, found in enumerate(self.kinds) if found == kind]
        return sum(place in kept for place in places) / len(places)


def dirty_corpus(clean: int, dirt: int, random: Generator) -> DirtyCorpus:
    """Draw a corpus.

    Args:
        clean: documents of Shakespeare and the King James Bible, one half each.
        dirt: documents of each other kind; of copies there are five times as many.
        random: draws documents and dirt.
    """
    plays, bible = shakespeare.split(), king_james.split()
    english = [
        [part[i] for i in random.permutation(len(part))] for part in (cut(plays[0]), cut(bible[0]))
    ]
    pool = [text for pair in zip(*english, strict=False) for text in pair]
    reference, good = pool[: clean // 4], pool[clean // 4 : clean // 4 + clean]
    verses = sword.chapters(reina_valera.CARD).values()
    spanish = cut("\n".join(verse for chapter in verses for verse in chapter))
    code = cut(python_stdlib.load())
    kinds = {
        "clean": good,
        "copies": [altered(good[i % COPIED], random) for i in range(5 * dirt)],
        "spanish": drawn(spanish[100:], dirt, random),
        "code": drawn(code[100:], dirt, random),
        "notices": [notice(random) for _ in range(dirt)],
        "garbled": [garbled(text, random) for text in drawn(pool[2 * clean :], dirt, random)],
        "leaked": drawn(cut(plays[1]) + cut(bible[1]), max(4, dirt // 10), random),
    }
    every = [(text, kind) for kind, texts in kinds.items() for text in texts]
    # A copy must not come before what it is a copy of: then that would be the copy.
    order = [int(i) for i in random.permutation(len(every))]
    order.sort(key=lambda i: every[i][1] == "copies")
    return DirtyCorpus(
        documents=[every[i][0] for i in order], kinds=[every[i][1] for i in order],
        reference=reference, held_out=plays[1] + "\n\n" + bible[1],
        samples={
            "English": "\n".join(reference[:60]), "Spanish": "\n".join(spanish[:60]),
            "Python": "\n".join(code[:60]),
        },
    )  # fmt: skip


def cut(text: str) -> list[str]:
    """Documents of about `CHARACTERS`, cut between lines."""
    documents, lines, size = list[str](), list[str](), 0
    for line in text.splitlines():
        lines.append(line)
        size += len(line) + 1
        if size >= CHARACTERS:
            documents.append("\n".join(lines))
            lines, size = [], 0
    return documents


def drawn(texts: list[str], count: int, random: Generator) -> list[str]:
    """So many different documents."""
    return [texts[i] for i in random.choice(len(texts), count, replace=False)]


def altered(text: str, random: Generator) -> str:
    """A copy with some words written in capitals and some left out."""
    words = text.split(" ")
    for i in np.flatnonzero(random.random(len(words)) < CHANGED):
        words[i] = words[i].upper() if random.random() < 0.5 else ""
    return " ".join(words)


def notice(random: Generator) -> str:
    """What stands around the text of a page."""
    lines = [NOTICES[i] for i in random.integers(len(NOTICES), size=8)]
    return "\n".join(
        line.format(n=random.integers(10_000), m=random.integers(1_000)) for line in lines
    )


def garbled(text: str, random: Generator) -> str:
    """Half of the words with their letters in another order, as a bad scan has them."""
    words = [
        "".join(random.permutation(list(word))) if random.random() < 0.5 else word
        for word in text.split(" ")
    ]
    return " ".join(words)
