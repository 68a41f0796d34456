"""BPE vocabularies in the files of OpenAI: GPT-2's two, and tiktoken's ranks.

Source: Radford et al. 2019, released code: `encoder.json` (or `vocab.json`) numbers the tokens,
`vocab.bpe` (or `merges.txt`) lists the merges; tiktoken: a line a token, its bytes in base 64 and
its number.
Differs from the paper: tiktoken keeps no merges, but joins whatever two neighbours make a token,
the token of the least number first; read here as a merge for every way to cut a token in two.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.files import read_json, write_atomically
from orrery.systems.language.bpe import CL100K, BpeVocabulary
from orrery.systems.language.tokenizer_json import bpe_vocabulary, letters_of

SYSTEM = System(
    stem="rank_files", area="language", title="BPE in OpenAI's files", year=2019,
    papers=("Radford et al. 2019",), builds_on=("bpe", "tokenizer_json"),
)  # fmt: skip

END_OF_TEXT = "<|endoftext|>"
LARGEST = 1 << 24


def read_gpt2(vocab: Path, merges: Path) -> BpeVocabulary:
    """GPT-2's vocabulary; `<|endoftext|>` is special where it is there.

    Raises:
        OrreryError: a file cannot be read or is malformed.
    """
    numbers = read_json(vocab)
    if not isinstance(numbers, dict) or not all(
        type(number) is int and 0 <= number < LARGEST for number in numbers.values()
    ):
        raise OrreryError(f"{vocab} is refused: it must hold an object of token numbers")
    lines = _text(merges).split("\n")
    if lines[0].startswith("#version"):
        del lines[0]
    specials = {text: numbers[text] for text in (END_OF_TEXT,) if text in numbers}
    try:
        return bpe_vocabulary(numbers, [line for line in lines if line], specials)
    except (OrreryError, ValueError) as error:
        raise OrreryError(f"{vocab} and {merges} are refused: {error}") from None


def write_gpt2(vocab: Path, merges: Path, vocabulary: BpeVocabulary) -> None:
    """Write the two files, as GPT-2 has them."""
    names = {number: letters_of(token) for number, token in vocabulary.tokens.items()}
    lines = (f"{names[left]} {names[right]}\n" for left, right, _ in vocabulary.merges)
    numbers = {name: number for number, name in sorted(names.items())} | dict(vocabulary.specials)
    write_atomically(vocab, json.dumps(numbers, ensure_ascii=False))
    write_atomically(merges, "#version: 0.2\n" + "".join(lines))


def read_tiktoken(
    path: Path, *, pattern: str = CL100K, specials: Mapping[str, int] | None = None
) -> BpeVocabulary:
    """A vocabulary from ranks; the file says neither the pattern nor the special tokens.

    Raises:
        OrreryError: the file cannot be read or is malformed.
    """
    ranks: dict[bytes, int] = {}
    for place, line in enumerate(_text(path).splitlines(), start=1):
        try:
            token, rank = line.split()
            number = int(rank)
            ranks[base64.b64decode(token, validate=True)] = number
        except (ValueError, binascii.Error):
            raise OrreryError(
                f"{path} is refused: line {place} is not a token and a rank"
            ) from None
        if not 0 <= number < LARGEST:
            raise OrreryError(f"{path} is refused: line {place} has the rank {number}")
    tokens = {rank: token for token, rank in ranks.items()}
    if len(tokens) < len(ranks) or b"" in ranks:
        raise OrreryError(f"{path} is refused: tokens are empty or share a rank")
    merges = [
        (ranks[token[:i]], ranks[token[i:]], rank)
        for rank, token in sorted(tokens.items())
        for i in range(1, len(token))
        if token[:i] in ranks and token[i:] in ranks
    ]
    try:
        return BpeVocabulary(
            tokens=tokens, merges=merges, pattern=pattern, specials=dict(specials or {}),
            whole_words=True,
        )  # fmt: skip
    except ValueError as error:
        raise OrreryError(f"{path} is refused: {error}") from None


def write_tiktoken(path: Path, vocabulary: BpeVocabulary) -> None:
    """Write the ranks; tiktoken's merges are those of `vocabulary` if each makes a new token.

    Raises:
        OrreryError: tokens are not numbered in the order of the merges that make them.
    """
    made = [whole for _, _, whole in vocabulary.merges]
    if any(a > b for a, b in pairwise(made)):
        raise OrreryError("only a vocabulary numbered in the order of its merges has ranks")
    lines = (
        f"{base64.b64encode(token).decode()} {number}\n"
        for number, token in sorted(vocabulary.tokens.items())
    )
    write_atomically(path, "".join(lines))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except OSError as error:
        raise OrreryError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise OrreryError(f"{path} is refused: {error}") from error
