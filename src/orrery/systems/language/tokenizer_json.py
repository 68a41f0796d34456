"""Tokenisers in and out of the file `tokenizer.json` of the library tokenizers.

Source: the format as the library (Hugging Face, version 0.23) writes it: "model" holds the
vocabulary; "normalizer", "pre_tokenizer" and "decoder" say what happens before and after.
Differs from the paper: what is read are byte-level BPE, WordPiece with BERT's preparation and
unigram with its mark for spaces; all else is refused with one line. Nothing is added to a text
(no [CLS], no <s>), whatever "post_processor" says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import regex

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.files import read_json, write_json
from orrery.systems.language.bpe import ALPHABET, GPT2, PRINTABLE, BpeVocabulary
from orrery.systems.language.unigram import SPACE, Form, UnigramVocabulary
from orrery.systems.language.wordpiece import PREFIX, BasicTokenizer, WordPieceVocabulary

SYSTEM = System(
    stem="tokenizer_json", area="language", title="Tokenisers as tokenizer.json", year=2019,
    papers=("tokenizers 0.23",), builds_on=("bpe", "unigram", "wordpiece"),
)  # fmt: skip

T = TypeVar("T")
Vocabulary = BpeVocabulary | WordPieceVocabulary | UnigramVocabulary
Object = Mapping[str, Any]

LETTERS = {
    byte: chr(byte if byte in PRINTABLE else 256 + i - len(PRINTABLE))
    for i, byte in enumerate(ALPHABET)
}
"""The printable letter that stands for each byte in GPT-2's files and in these."""
_OTHERWISE = regex.compile(r"\{\d*,?\d*\}\+|(?<!\\)\$")  # what Oniguruma reads in its own way
BYTES = {letter: byte for byte, letter in LETTERS.items()}


def letters_of(token: bytes) -> str:
    """A token as printable letters."""
    return "".join(LETTERS[byte] for byte in token)


def bytes_of(letters: str) -> bytes:
    """A token from its printable letters.

    Raises:
        OrreryError: a letter stands for no byte.
    """
    try:
        return bytes(BYTES[letter] for letter in letters)
    except KeyError as error:
        raise OrreryError(f"token {letters!r} is not made of bytes: {error}") from None


def read_tokenizer(path: Path) -> Vocabulary:
    """The vocabulary of a file.

    Raises:
        OrreryError: the file cannot be read, is malformed, or is of a kind that is not read here.
    """
    try:
        return vocabulary_of(_typed(read_json(path), dict, "the file"))
    except (OrreryError, ValueError) as error:
        raise OrreryError(f"{path} is refused: {error}") from None


def write_tokenizer(path: Path, vocabulary: Vocabulary) -> None:
    """Write a vocabulary so that the library reads it.

    Raises:
        OrreryError: its pattern means something else to the library, or the disk is full.
    """
    write_json(path, object_of(vocabulary))


def vocabulary_of(whole: Object) -> Vocabulary:
    """The vocabulary in an object like that of the file.

    Raises:
        OrreryError: it is malformed or of a kind that is not read here.
        ValueError: its parts do not fit together.
    """
    model = _field(whole, "model", dict)
    specials: dict[str, int] = {}
    for entry in _typed(whole.get("added_tokens") or [], list, "added_tokens"):
        entry = _typed(entry, dict, "an added token")
        if any(entry.get(flag) for flag in ("single_word", "lstrip", "rstrip")):
            raise OrreryError(f"added token {entry.get('content')!r} takes its surroundings in")
        content = _field(entry, "content", str)
        if not content:
            raise OrreryError("an added token is empty")
        specials[content] = _number(entry.get("id"), f"id of {content!r}")
    kind = model.get("type") or ("BPE" if "merges" in model else "none")
    match kind:
        case "BPE":
            return _bpe(whole, model, specials)
        case "WordPiece":
            return _wordpiece(whole, model, specials)
        case "Unigram":
            return _unigram(whole, model, specials)
    raise OrreryError(f"model {kind!r} is not read; BPE, WordPiece and Unigram are")


def _bpe(whole: Object, model: Object, specials: dict[str, int]) -> BpeVocabulary:
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "byte_fallback"):
        if model.get(name):
            raise OrreryError(f"BPE with {name} is not read; byte-level BPE is")
    if _steps(whole.get("normalizer"), "normalizers"):
        raise OrreryError("BPE with a normalizer is not read")
    pattern, prefix_space = _byte_level(whole.get("pre_tokenizer"))
    numbers = _numbers(_field(model, "vocab", dict))
    return bpe_vocabulary(
        numbers, _field(model, "merges", list), specials,
        pattern=pattern, whole_words=bool(model.get("ignore_merges")), prefix_space=prefix_space,
    )  # fmt: skip


def bpe_vocabulary(
    numbers: Mapping[str, int], merges: list[Any], specials: Mapping[str, int], *,
    pattern: str = GPT2, whole_words: bool = False, prefix_space: bool = False,
    drops: bool = False,
) -> BpeVocabulary:  # fmt: skip
    """A vocabulary from tokens and merges in printable letters.

    Raises:
        OrreryError: a merge is malformed or of tokens that are not there.
        ValueError: a byte is missing.
    """
    triples: list[tuple[int, int, int]] = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        try:
            left, right = pair
            triples.append((numbers[left], numbers[right], numbers[left + right]))
        except (KeyError, TypeError, ValueError):
            raise OrreryError(f"merge {merge!r} is not of two tokens that make one") from None
    return BpeVocabulary(
        tokens={n: bytes_of(token) for token, n in numbers.items() if token not in specials},
        merges=triples, pattern=pattern, specials=specials,
        whole_words=whole_words, prefix_space=prefix_space, drops=drops,
    )  # fmt: skip


def _byte_level(node: Any) -> tuple[str, bool]:
    """The pattern that cuts words, and whether a text is given a space to begin with."""
    steps = _steps(node, "pretokenizers")
    if not steps or steps[-1].get("type") != "ByteLevel":
        raise OrreryError("the pre_tokenizer of BPE must be ByteLevel, after a Split or alone")
    last, pattern = steps[-1], GPT2
    prefix_space = bool(last.get("add_prefix_space", True))
    if len(steps) == 2 and steps[0].get("type") == "Split" and not last.get("use_regex", True):
        split = steps[0]
        pattern = _field(_field(split, "pattern", dict), "Regex", str)
        if split.get("behavior") != "Isolated" or split.get("invert"):
            raise OrreryError("a Split must be Isolated and not inverted")
    elif len(steps) != 1 or not last.get("use_regex", True):
        raise OrreryError("before ByteLevel one Split is read, with use_regex false, or none")
    return pattern, prefix_space


def _wordpiece(whole: Object, model: Object, specials: dict[str, int]) -> WordPieceVocabulary:
    normaliser = _typed(whole.get("normalizer"), dict, "normalizer")
    _expect(normaliser, "BertNormalizer", "normalizer")
    _expect(whole.get("pre_tokenizer"), "BertPreTokenizer", "pre_tokenizer")
    if model.get("continuing_subword_prefix", PREFIX) != PREFIX:
        raise OrreryError(f"WordPiece must have {PREFIX} before a piece that goes on")
    lowercase = bool(normaliser.get("lowercase", True))
    strip = normaliser.get("strip_accents")
    return WordPieceVocabulary(
        pieces=_numbers(_field(model, "vocab", dict)) | specials,
        basic=BasicTokenizer(
            clean=bool(normaliser.get("clean_text", True)),
            chinese=bool(normaliser.get("handle_chinese_chars", True)),
            accents=not (lowercase if strip is None else strip), lowercase=lowercase,
        ),
        unknown=_field(model, "unk_token", str),
        longest=_number(model.get("max_input_chars_per_word", 100), "max_input_chars_per_word"),
        specials=tuple(specials),
    )  # fmt: skip


def _unigram(whole: Object, model: Object, specials: dict[str, int]) -> UnigramVocabulary:
    steps = _steps(whole.get("normalizer"), "normalizers")
    form = steps[0].get("type", "") if steps else ""
    if len(steps) > 1 or form not in ("", "NFC", "NFD", "NFKC", "NFKD"):
        raise OrreryError(f"normalizer {form!r} of Unigram is not read; one of NFC to NFKD is")
    mark = _typed(whole.get("pre_tokenizer"), dict, "pre_tokenizer")
    _expect(mark, "Metaspace", "pre_tokenizer")
    if mark.get("replacement") != SPACE or not mark.get("split", True):
        raise OrreryError(f"Metaspace must cut before {SPACE}")
    before = mark.get("prepend_scheme", "always" if mark.get("add_prefix_space", True) else "never")
    if before not in ("always", "first", "never"):
        raise OrreryError(f"prepend_scheme must be always, first or never, got {before!r}")
    pieces: list[tuple[str, float]] = []
    for entry in _field(model, "vocab", list):
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise OrreryError(f"piece {entry!r} is not a string and a score")
        pieces.append((entry[0], float(_typed(entry[1], (int, float), "a score"))))
    return UnigramVocabulary(
        pieces=pieces, unknown=_number(model.get("unk_id"), "unk_id"), prefix=before,
        form=cast(Form, form), byte_pieces=bool(model.get("byte_fallback")), specials=specials,
    )  # fmt: skip


def object_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """The object that the file holds."""
    specials: dict[str, int]
    match vocabulary:
        case BpeVocabulary():
            parts, specials = _bpe_object(vocabulary), dict(vocabulary.specials)
        case WordPieceVocabulary():
            parts = _wordpiece_object(vocabulary)
            specials = {piece: vocabulary.pieces[piece] for piece in vocabulary.specials}
        case UnigramVocabulary():
            parts, specials = _unigram_object(vocabulary), dict(vocabulary.specials or {})
    added = [
        {"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for text, number in sorted(specials.items(), key=lambda item: item[1])
    ]  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "post_processor": None, **parts,
    }  # fmt: skip


def _bpe_object(vocabulary: BpeVocabulary) -> dict[str, Any]:
    if _OTHERWISE.search(vocabulary.pattern):
        raise OrreryError(
            f"the library reads $ or a possessive count otherwise: {vocabulary.pattern}"
        )
    names = {number: letters_of(token) for number, token in vocabulary.tokens.items()}
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": vocabulary.prefix_space, "trim_offsets": True,
        "use_regex": vocabulary.pattern == GPT2,
    }  # fmt: skip
    split = {
        "type": "Split", "pattern": {"Regex": vocabulary.pattern}, "behavior": "Isolated",
        "invert": False,
    }  # fmt: skip
    steps = byte_level if vocabulary.pattern == GPT2 else {
        "type": "Sequence", "pretokenizers": [split, byte_level],
    }  # fmt: skip
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": vocabulary.whole_words,
        "vocab": {name: number for number, name in sorted(names.items())}
        | dict(vocabulary.specials),
        "merges": [[names[left], names[right]] for left, right, _ in vocabulary.merges],
    }  # fmt: skip
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
               "use_regex": True}  # fmt: skip
    return {"pre_tokenizer": steps, "decoder": decoder, "model": model}


def _wordpiece_object(vocabulary: WordPieceVocabulary) -> dict[str, Any]:
    basic = vocabulary.basic
    normaliser = {
        "type": "BertNormalizer", "clean_text": basic.clean, "handle_chinese_chars": basic.chinese,
        "strip_accents": not basic.accents, "lowercase": basic.lowercase,
    }  # fmt: skip
    model = {
        "type": "WordPiece", "unk_token": vocabulary.unknown, "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": vocabulary.longest, "vocab": dict(vocabulary.pieces),
    }  # fmt: skip
    return {
        "normalizer": normaliser, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": True}, "model": model,
    }  # fmt: skip


def _unigram_object(vocabulary: UnigramVocabulary) -> dict[str, Any]:
    mark = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": vocabulary.prefix,
            "split": True}  # fmt: skip
    model = {
        "type": "Unigram", "unk_id": vocabulary.unknown, "byte_fallback": vocabulary.byte_pieces,
        "vocab": [list(piece) for piece in vocabulary.pieces],
    }  # fmt: skip
    normaliser = {"type": vocabulary.form} if vocabulary.form else None
    return {"normalizer": normaliser, "pre_tokenizer": mark, "decoder": dict(mark), "model": model}


def _steps(node: Any, inner: str) -> list[Object]:
    """The members of a sequence, or the one that stands alone."""
    if node is None:
        return []
    node = _typed(node, dict, "a step")
    members = _field(node, inner, list) if node.get("type") == "Sequence" else [node]
    return [_typed(member, dict, "a step") for member in members]


def _expect(node: Any, kind: str, where: str) -> None:
    found = _typed(node, dict, where).get("type")
    if found != kind:
        raise OrreryError(f"{where} must be {kind}, got {found!r}")


def _numbers(vocab: Object) -> dict[str, int]:
    return {token: _number(number, f"number of {token!r}") for token, number in vocab.items()}


def _number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 24:
        raise OrreryError(f"{what} must be a whole number in [0, {1 << 24}), got {value!r}")
    return value


def _field(node: Object, name: str, kind: type[T]) -> T:
    return _typed(node.get(name), kind, name)


def _typed(value: Any, kind: Any, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise OrreryError(f"{what} is missing or of a wrong type: {type(value).__name__}")
    return value
