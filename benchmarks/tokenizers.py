"""Row 13: BPE against tokenizers and tiktoken, on ten megabytes of Python's standard library.

13a: learning 8,192 tokens; the merges are the same before time counts. 13b: encoding one string of
2 MB, and the same in 1,000 parts with two threads; tokens are the same, and decode to the text.
"""

import json
import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import tiktoken
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

import tokenizers
from benchmarks.side_by_side import Timing, interleave, report
from orrery.data import python_stdlib
from orrery.systems.language.bpe import GPT2, BpeConfig, BpeVocabulary
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train
from orrery.systems.language.tokenizer_json import object_of

VOCAB = 8_192
THREADS = 2


def main() -> bool:
    """Both parts of the row."""
    text = python_stdlib.load()[:10_000_000]
    lines = text.splitlines(keepends=True)
    vocabulary = train(lines, BpeConfig(vocab=VOCAB))
    one = text[:2_000_000]
    parts = [one[i : i + 2_000] for i in range(0, len(one), 2_000)]
    return all([learning(lines, vocabulary), single(one, vocabulary), batch(parts, vocabulary)])


def learning(lines: list[str], vocabulary: BpeVocabulary) -> bool:
    def theirs() -> tokenizers.Tokenizer:
        made = tokenizers.Tokenizer(BPE())
        made.pre_tokenizer = ByteLevel(add_prefix_space=False)
        made.train_from_iterator(lines, BpeTrainer(
            vocab_size=VOCAB, initial_alphabet=ByteLevel.alphabet(), show_progress=False,
        ))  # fmt: skip
        return made

    expected = json.loads(theirs().to_str())["model"]
    found = object_of(vocabulary)["model"]
    assert found["merges"] == expected["merges"]
    assert found["vocab"] == expected["vocab"]
    timings = interleave(
        {"orrery": lambda: train(lines, BpeConfig(vocab=VOCAB)), "tokenizers": theirs}, rounds=5
    )
    megabytes = sum(len(line.encode()) for line in lines) / 1e6
    return report(
        "13a", "BPE learning 8k", timings, "orrery", goal=1 / 1.5, unit="MB/s", work=megabytes
    )


def peers(vocabulary: BpeVocabulary) -> tuple[tokenizers.Tokenizer, tiktoken.Encoding]:
    """The same vocabulary in both libraries."""
    ranks = {token: number for number, token in vocabulary.tokens.items()}
    return (
        tokenizers.Tokenizer.from_str(json.dumps(object_of(vocabulary))),
        tiktoken.Encoding("x", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={}),
    )


def single(text: str, vocabulary: BpeVocabulary) -> bool:
    ours, (theirs, tik) = FastBpe(vocabulary), peers(vocabulary)
    numbers = ours.encode(text)
    assert numbers == theirs.encode(text).ids == tik.encode_ordinary(text)
    assert ours.decode(numbers) == text
    assert np.array_equal(ours.encode_array(text), numbers)
    timings = interleave({
        "orrery": lambda: ours.encode(text), "tokenizers": lambda: theirs.encode(text),
        "tiktoken": lambda: tik.encode_ordinary(text),
    }, rounds=9)  # fmt: skip
    what, size = "encoding one string of 2 MB", len(text.encode()) / 1e6
    return against_both(what, timings, size)


def against_both(what: str, timings: dict[str, Timing], size: float) -> bool:
    """A line for each peer."""
    reached = [
        report("13b", what, timings, "orrery", goal=goal, unit="MB/s", work=size, peers=(peer,))
        for peer, goal in (("tokenizers", 1.0), ("tiktoken", 0.7))
    ]
    return all(reached)


def batch(texts: list[str], vocabulary: BpeVocabulary) -> bool:
    ours, (theirs, tik) = FastBpe(vocabulary), peers(vocabulary)
    numbers = ours.encode_batch(texts, threads=THREADS)
    assert numbers == [found.ids for found in theirs.encode_batch_fast(texts)]
    assert numbers == tik.encode_ordinary_batch(texts, num_threads=THREADS)
    timings = interleave({
        "orrery": lambda: ours.encode_batch(texts, threads=THREADS),
        "tokenizers": lambda: theirs.encode_batch_fast(texts),
        "tiktoken": lambda: tik.encode_ordinary_batch(texts, num_threads=THREADS),
    }, rounds=9)  # fmt: skip
    what, size = "encoding 1,000 texts of 2 kB", sum(len(t.encode()) for t in texts) / 1e6
    return against_both(what, timings, size)


if __name__ == "__main__":
    main()
