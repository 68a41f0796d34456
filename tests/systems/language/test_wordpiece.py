import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import ENGLISH, MIXED, texts

from orrery.systems.language.tokenizer_json import object_of
from orrery.systems.language.wordpiece import (
    SPECIALS,
    BasicTokenizer,
    WordPiece,
    WordPieceConfig,
    WordPieceVocabulary,
    train,
)

LINES = MIXED[:40_000].splitlines()
VOCABULARY = train(LINES, WordPieceConfig(vocab=1_200))


def old(text):
    """The characters that Unicode 3.2 had: the library's tables are not of the newest one."""
    then = unicodedata.ucd_3_2_0.category
    return "".join(c for c in text if then(c) == unicodedata.category(c) != "Cn")


def reference(vocabulary):
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_str(json.dumps(object_of(vocabulary)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hé said:\tDon't!", ["he", "said", ":", "don", "'", "t", "!"]),
        ("生存还是\u3000a\u0000b", ["生", "存", "还", "是", "ab"]),
        ("a\u200db \ufffd$5+^", ["ab", "$", "5", "+", "^"]),
        ("ΟΔΟΣ İ", ["οδοσ", "i"]),
    ],
)
def test_words_of_bert(text, words):
    assert BasicTokenizer().words(text) == words


def test_each_step_can_be_left_out():
    text = "Hé\u0000 中文"
    assert BasicTokenizer(lowercase=False).words(text) == ["He", "中", "文"]
    assert BasicTokenizer(accents=True).words(text) == ["hé", "中", "文"]
    assert BasicTokenizer(chinese=False).words(text) == ["he", "中文"]
    assert BasicTokenizer(clean=False).words(text) == ["he\u0000", "中", "文"]


def test_the_longest_piece_that_begins_a_word_is_taken_first():
    pieces = {"[UNK]": 0, "un": 1, "##aff": 2, "##able": 3, "una": 4, "##a": 5, "##ff": 6}
    model = WordPiece(WordPieceVocabulary(pieces=pieces))
    assert model.encode("unaffable") == [4, 6, 3]  # not un ##aff ##able, which is shorter
    assert model.encode("unaffected un") == [0, 1]  # one piece is missing: the whole is unknown
    assert model.decode([4, 6, 3, 1]) == "unaffable un"


def test_a_word_that_is_too_long_is_unknown():
    pieces = {"[UNK]": 0, "a": 1, "##a": 2}
    model = WordPiece(WordPieceVocabulary(pieces=pieces, longest=3))
    assert model.encode("aaa aaaa") == [1, 2, 2, 0]


@pytest.mark.parity
def test_it_is_the_wordpiece_of_tokenizers():
    model, theirs = WordPiece(VOCABULARY), reference(VOCABULARY)
    text = old(MIXED) + "[CLS] [MASK][SEP] [UNK]"
    numbers = model.encode(text)
    assert numbers == theirs.encode(text, add_special_tokens=False).ids
    assert model.decode(numbers) == theirs.decode(numbers, skip_special_tokens=False)

    @settings(max_examples=200, deadline=None)
    @given(texts)
    def same(text):
        text = old(text)
        assert model.encode(text) == theirs.encode(text).ids

    same()


@pytest.mark.parity
@given(st.builds(BasicTokenizer, clean=st.booleans(), chinese=st.booleans(),
                 accents=st.booleans(), lowercase=st.booleans()), texts)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_preparation_is_that_of_tokenizers(basic, text):
    tokenizers = pytest.importorskip("tokenizers")
    text = old(text)
    theirs = tokenizers.normalizers.BertNormalizer(
        clean_text=basic.clean, handle_chinese_chars=basic.chinese,
        strip_accents=not basic.accents, lowercase=basic.lowercase,
    )  # fmt: skip
    normal = theirs.normalize_str(text)
    assert basic.normalise(text) == normal
    cut = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normal)
    assert basic.words(text) == [word for word, _ in cut]


@pytest.mark.parity
def test_the_pieces_learnt_are_those_of_tokenizers():
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = tokenizers.normalizers.BertNormalizer()
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    lines, size = ENGLISH.splitlines(), 350
    theirs.train_from_iterator(
        lines,
        tokenizers.trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=list(SPECIALS), show_progress=False
        ),
    )
    ours = train(lines, WordPieceConfig(vocab=size)).pieces
    # Of equal pairs theirs takes any: the order of its letters is not fixed.
    assert len(ours) == theirs.get_vocab_size() == size
    assert len(ours.keys() & theirs.get_vocab().keys()) > 0.97 * size


def test_pieces_spell_the_words_they_were_learnt_from():
    model = WordPiece(VOCABULARY)
    words = [word for line in LINES for word in VOCABULARY.basic.words(line)]
    for word in {word for word in words if len(word) <= 100}:
        pieces = model.encode_word(word)
        assert VOCABULARY.pieces["[UNK]"] not in pieces
        names = [name for p in pieces for name, n in VOCABULARY.pieces.items() if n == p][:4]
        assert names[0] == word[: len(names[0])]
        assert all(name.startswith("##") for name in names[1:])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 0}, "vocab and least must be at least 1"),
        ({"least": 0}, "vocab and least must be at least 1"),
        ({"specials": ("[CLS]",)}, r"specials must have \[UNK\]"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        WordPieceConfig(**bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"pieces": {"a": 0}}, r"must have '\[UNK\]'"),
        ({"pieces": {"[UNK]": 0, "a": 0}}, "numbers that differ"),
        ({"pieces": {"[UNK]": 0}, "longest": 0}, "longest must be at least 1"),
        ({"pieces": {"[UNK]": 0}, "specials": ("x",)}, "must have 'x'"),
    ],
)
def test_bad_vocabularies_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        WordPieceVocabulary(**bad)


def test_a_number_that_is_no_piece_is_refused():
    with pytest.raises(ValueError, match="no piece 99999"):
        WordPiece(VOCABULARY).decode([99_999])
