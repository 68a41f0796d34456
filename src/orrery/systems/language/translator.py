"""Machine translation from end to end: words to numbers, a model, a beam, and words again.

Source: Sutskever, Vinyals and Le 2014, arXiv:1409.3215, section 3, for the whole path (vocabularies
of the commonest words, one mark for all others, a beam, BLEU); Wu et al. 2016, arXiv:1609.08144,
section 7, for judging a finished translation by its mean log-probability.
Differs from the papers: words are whole words, lower-case, with punctuation marks by themselves;
sources of one length are translated together, so that none is padded.

Any model will do that can `read` a source into a state, `write` words after it and score what
comes next, and `select` rows of its state: `Seq2Seq`, `BahdanauAttention`, `LuongAttention`, or
`Rewriting` around a model that has no state and reads all it wrote again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from orrery.catalog import System
from orrery.inference.beam_search import search
from orrery.inference.decoding import Decoding
from orrery.metrics.bleu import Bleu, bleu

SYSTEM = System(
    stem="translator", area="language", title="Machine translation, end to end", year=2014,
    papers=("arXiv:1409.3215", "arXiv:1609.08144"), builds_on=("beam_search", "bleu"),
    realises=("machine-translation-task",),
)  # fmt: skip

Words = Sequence[str]
Source = Int[Tensor, "b s"]
Target = Int[Tensor, "b t"]
PADDING, START, END, UNKNOWN = range(4)
MARKS = ("<padding>", "<start>", "<end>", "<unknown>")


class Vocabulary:
    """The commonest words, numbered, after four marks."""

    def __init__(self, sentences: Iterable[Words], size: int) -> None:
        """Number the words of `sentences`; of equally common ones the first in the alphabet.

        Args:
            sentences: what to count.
            size: marks included.

        Raises:
            ValueError: there is room for no word.
        """
        if size <= len(MARKS):
            raise ValueError(f"size must be above {len(MARKS)}, got {size}")
        counts = Counter(word for sentence in sentences for word in sentence)
        common = sorted(counts, key=lambda word: (-counts[word], word))
        self.words = (*MARKS, *common[: size - len(MARKS)])
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: Words) -> list[int]:
        """A number for each word, that of the unknown for all that are not known."""
        return [self._numbers.get(word, UNKNOWN) for word in sentence]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The words up to the end, without the marks of start and padding."""
        found = []
        for number in numbers:
            if number == END:
                break
            if number not in (PADDING, START):
                found.append(self.words[number])
        return found


@runtime_checkable
class TranslationModel(Protocol):
    """What a translator needs of a model; its state has `select(rows)`."""

    def read(self, source: Source) -> Any:
        """The state before the first word."""
        ...

    def write(self, state: Any, target: Target) -> tuple[Tensor, Any]:
        """Scores of the word after each of `target`, and the state after the last."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """The state of a model without one: what there was to read, and what is written so far."""

    source: Source
    written: Target

    def select(self, rows: Int[Tensor, " k"]) -> "Draft":
        """The drafts of other rows."""
        return Draft(self.source[rows], self.written[rows])


class Rewriting:
    """A model that scores a whole target at once, made to go on word by word."""

    def __init__(self, scores: Callable[[Source, Target], Tensor]) -> None:
        """Any function from sources and targets to scores of the words after each."""
        self.scores = scores

    def read(self, source: Source) -> Draft:
        """The source, and nothing written."""
        return Draft(source, source.new_zeros(len(source), 0))

    def write(self, state: Draft, target: Target) -> tuple[Tensor, Draft]:
        """Scores after each of `target`."""
        written = torch.cat([state.written, target], dim=1)
        scores = self.scores(state.source, written)[:, -target.shape[1] :]
        return scores, Draft(state.source, written)


class _Writing:
    """A model's state, as a beam search moves it about."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def take(self, rows: Tensor) -> None:
        self.state = self.state.select(rows)


class Translator:
    """Two vocabularies and a model between them."""

    def __init__(self, source: Vocabulary, target: Vocabulary, model: TranslationModel) -> None:
        self.source, self.target, self.model = source, target, model

    @torch.no_grad()
    def translate(self, sentences: Sequence[Words], how: Decoding | None = None) -> list[list[str]]:
        """A translation of each, in the order given.

        Args:
            sentences: none of them empty.
            how: of the decoding; a beam of 4 and at most 30 words, if not given.

        Raises:
            ValueError: a sentence is empty.
        """
        how = how or Decoding(
            max_new_tokens=30, num_beams=4, eos_token_id=END, pad_token_id=PADDING
        )
        found: dict[int, list[str]] = {}
        for length, places in _by_length(sentences).items():
            if length == 0:
                raise ValueError(f"sentences must have words: number {places[0]} has none")
            source = torch.tensor([self.source.encode(sentences[place]) for place in places])
            writing = _Writing(self.model.read(source))
            start = source.new_full((len(places), 1), START)
            for place, row in zip(places, search(self._step, writing, start, how), strict=True):
                found[place] = self.target.decode(row.tolist())
        return [found[place] for place in range(len(sentences))]

    def bleu(self, sentences: Sequence[Words], references: Sequence[Words]) -> Bleu:
        """How well the translations of `sentences` agree with `references`, one each."""
        return bleu(self.translate(sentences), [[reference] for reference in references])

    def _step(self, fresh: Tensor, writing: _Writing) -> Tensor:
        scores, writing.state = self.model.write(writing.state, fresh)
        scores = scores[:, -1].clone()
        scores[:, [PADDING, START]] = -torch.inf  # nobody writes these
        return scores


@dataclass(frozen=True, slots=True)
class TranslationBatch:
    """Sources of one length, and targets as a model writes them and as they are scored."""

    source: Source
    target: Target
    after: Target


def batch_of(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> TranslationBatch:
    """Pairs of numbered sentences, the sources of one length, as a batch to train on."""
    longest = max(len(words) for _, words in pairs) + 1
    after = torch.zeros(len(pairs), longest, dtype=torch.int64)
    for row, (_, words) in zip(after, pairs, strict=True):
        row[: len(words) + 1] = torch.tensor([*words, END])
    target = torch.cat([torch.full((len(pairs), 1), START), after[:, :-1]], dim=1)
    source = torch.tensor([list(words) for words, _ in pairs])
    return TranslationBatch(source, target.masked_fill(target == END, PADDING), after)


def _by_length(sentences: Sequence[Words]) -> dict[int, list[int]]:
    """The places of the sentences of each length."""
    found = defaultdict(list)
    for place, sentence in enumerate(sentences):
        found[len(sentence)].append(place)
    return dict(sorted(found.items()))
