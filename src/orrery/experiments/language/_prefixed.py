"""Toy tasks on verses, text in and text out: what a text-to-text experiment learns and scores."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from orrery.data import king_james
from orrery.inference.encoder_decoder import IGNORED, EncoderDecoder
from orrery.lab import Lab, Measured
from orrery.systems.language.bpe import BpeConfig
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train as train_bpe
from orrery.systems.language.text_noise import corrupt_spans, infill

TASKS = ("first", "reverse", "last", "gist")
GIST = 2  # words of a gist
SENTINELS = 32
Words = tuple[str, ...]
Pair = tuple[list[int], list[int]]  # source, target


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskBatch:
    """Sources and targets, filled up to one length."""

    source: Int[Tensor, "b s"]
    seen: Int[Tensor, "b s"]
    target: Int[Tensor, "b t"]
    """-100 after the end."""


@dataclass(frozen=True, kw_only=True)
class PrefixedVerses:
    """Verses to learn from and stretches of others to judge by, and how both become tokens."""

    learnt: list[Words]
    judged: dict[str, list[Words]]
    """Of each task, from books that nobody learns."""
    told: bool
    """Whether prefixes name the task; all prefixes are alike else."""
    device: torch.device
    counts: Counter[str]
    """Of words in the verses to learn from."""
    bpe: FastBpe
    size: int
    """Tokens of BPE; those after them are not text."""

    @classmethod
    def load(
        cls, *, vocab: int, longest: int, words: int, tests: int, told: bool, lab: Lab
    ) -> "PrefixedVerses":
        """Read the King James Bible.

        Args:
            vocab: tokens that BPE learns.
            longest: words; shorter verses are left out.
            words: of a text to judge by.
            tests: of these texts, for each task.
            told: whether prefixes name the task.
            lab: draws them.
        """
        learnt, judged = (
            [tuple(re.findall(r"[a-z']+", verse.lower())) for verse in part.splitlines()]
            for part in king_james.split()
        )
        text = "\n".join(" ".join(verse) for verse in learnt)
        learnt, judged = ([v for v in part if len(v) >= longest] for part in (learnt, judged))
        return cls(
            learnt=learnt, told=told, device=lab.device, size=vocab,
            judged={task: drawn(judged, tests, words, lab.rng(f"judged {task}")) for task in TASKS},
            counts=Counter(word for verse in learnt for word in verse),
            bpe=FastBpe(train_bpe([text[:500_000]], BpeConfig(vocab=vocab))),
        )  # fmt: skip

    @property
    def padding(self) -> int:
        """The token that fills up."""
        return self.size

    @property
    def end(self) -> int:
        """The token that ends a target."""
        return self.size + 1

    @property
    def vocab(self) -> int:
        """All tokens; the last ones are sentinels."""
        return self.size + 3 + SENTINELS

    def tokens(self, words: Sequence[str]) -> list[int]:
        """Of a text."""
        return self.bpe.encode(" " + " ".join(words)) if words else []

    def pair(self, task: str, words: Words, prefix: str = "") -> Pair:
        """A text after the task's prefix, or after another one, and the task's answer."""
        before = self.bpe.encode(f"{prefix or task}:" if self.told else "answer:")
        return before + self.tokens(words), self.tokens(answer(task, words, self.counts))

    def examples(self, tasks: Sequence[str], count: int, words: int, rng: Generator) -> list[Pair]:
        """Of each task as many, on stretches drawn at random."""
        texts = drawn(self.learnt, count, words, rng)
        return [self.pair(tasks[i % len(tasks)], text) for i, text in enumerate(texts)]

    def damaged(self, kind: str, words: Words, rng: Generator) -> Pair:
        """To pre-train on: sentinels and what they stand for (T5), or gaps and the whole (BART)."""
        whole = self.tokens(words)
        if kind == "t5":
            return corrupt_spans(whole, rng, sentinel=self.vocab - 1, rate=0.3)
        return infill(whole, rng, mask=self.size + 2), whole

    def noise(self, kind: str, count: int, words: int, rng: Generator) -> list[Pair]:
        """Damaged stretches, drawn at random."""
        return [self.damaged(kind, text, rng) for text in drawn(self.learnt, count, words, rng)]

    def batch(self, pairs: Sequence[Pair]) -> TaskBatch:
        """Of these pairs; an end follows each target."""
        sources = [torch.tensor(source) for source, _ in pairs]
        targets = [torch.tensor([*target, self.end]) for _, target in pairs]
        seen = [torch.ones_like(source) for source in sources]
        return TaskBatch(
            source=pad_sequence(sources, True, self.padding).to(self.device),
            seen=pad_sequence(seen, True, 0).to(self.device),
            target=pad_sequence(targets, True, IGNORED).to(self.device),
        )

    def scores(self, arm: str, model: EncoderDecoder, *, misled: bool = False) -> Measured:
        """Of greedy answers to each task's texts, with the prefix of the next task if misled.

        "tokens" is the share of tokens that are right at their place, "exact" that of answers.
        """
        found: Measured = {}
        for i, (task, texts) in enumerate(self.judged.items()):
            prefix = TASKS[(i + 1) % len(TASKS)] if misled else task
            pairs = [self.pair(task, text, prefix) for text in texts]
            target, written = self.batch(pairs).target, self.answers(model, pairs)
            short = target.shape[1] - written.shape[1]
            right = F.pad(written, (0, short), value=IGNORED) == target
            counted = target != IGNORED
            words = counted & (target != self.end)  # an end is easily right: it does not count
            found[f"{arm}/{task}/tokens"] = float((right & words).sum() / words.sum())
            found[f"{arm}/{task}/exact"] = float((right | ~counted).all(dim=1).float().mean())
        return found

    @torch.no_grad()
    def noise_loss(self, kind: str, model: EncoderDecoder, rng: Generator) -> float:
        """Of pre-training, on the texts that are judged."""
        texts = [text for texts in self.judged.values() for text in texts]
        batch = self.batch([self.damaged(kind, text, rng) for text in texts])
        return float(model.loss(batch.source, batch.target, batch.seen))

    def answers(self, model: EncoderDecoder, pairs: Sequence[Pair]) -> Int[Tensor, "b _"]:
        """What the model writes greedily, no longer than the longest right answer."""
        batch = self.batch(pairs)
        model.eval()
        written = model.generate(
            batch.source, batch.seen, max_new_tokens=batch.target.shape[1],
            eos_token_id=self.end, pad_token_id=self.padding,
        )  # fmt: skip
        model.train()
        return written[:, 1:]

    def shown(self, model: EncoderDecoder) -> str:
        """A text, and the model's answer to it under each prefix."""
        text = self.judged[TASKS[0]][0]
        lines = [" ".join(text)]
        for task in TASKS:
            (written,) = self.answers(model, [self.pair(task, text)]).tolist()
            kept = self.bpe.decode(token for token in written if token < self.size)
            lines.append(f"{task}: {kept.strip()}")
        return "\n".join(lines)


def drawn(verses: list[Words], count: int, words: int, generator: Generator) -> list[Words]:
    """Stretches of verses, each verse as likely as any other."""
    which = torch.randint(len(verses), (count,), generator=generator).tolist()
    where = torch.rand(count, generator=generator).tolist()
    found = []
    for i, share in zip(which, where, strict=True):
        start = int(share * (len(verses[i]) - words + 1))
        found.append(verses[i][start : start + words])
    return found


def answer(task: str, words: Words, counts: Counter[str]) -> Words:
    """What a task asks for; a gist are the rarest words, in the order of the text."""
    if task == "first":
        return words[:1]
    if task == "last":
        return words[-1:]
    if task == "reverse":
        return words[::-1]
    rarest = sorted(range(len(words)), key=lambda i: (counts[words[i]], i))[:GIST]
    return tuple(words[i] for i in sorted(rarest))
