import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixed_text import CHINESE, ENGLISH, texts

from orrery.systems.language.bpe import (
    ALPHABET,
    GPT2,
    PATTERNS,
    Bpe,
    BpeConfig,
    BpeVocabulary,
    merge,
    train,
)

SENNRICH = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3


def learnt(vocabulary):
    return [vocabulary.tokens[whole] for _, _, whole in vocabulary.merges]


def test_it_learns_the_merges_of_the_paper():
    # Sennrich et al., figure 1, without its end-of-word mark: es, est, then lo, low.
    vocabulary = train(SENNRICH, BpeConfig(vocab=256 + 4))
    assert learnt(vocabulary) == [b"es", b"est", b"lo", b"low"]


def test_of_equal_pairs_that_of_the_lower_numbers_is_merged_first():
    assert learnt(train(["ba ab"], BpeConfig(vocab=257, pattern=r"\w+"))) == [b"ab"]


def test_no_merge_crosses_words():
    vocabulary = train(["ab ab ab"] * 3, BpeConfig(vocab=300))
    assert all(b" " not in token[1:] for token in learnt(vocabulary))
    whole = train(["ab ab ab"] * 3, BpeConfig(vocab=300, pattern=r"[\s\S]+"))
    assert any(b" " in token[1:] for token in learnt(whole))


def test_rank_and_not_place_decides_what_merges():
    # "ab" would come first from the left; "bc" has the lower rank.
    tokens = {i: bytes([i]) for i in range(256)} | {256: b"bc", 257: b"ab"}
    merges = [(98, 99, 256), (97, 98, 257)]
    model = Bpe(BpeVocabulary(tokens=tokens, merges=merges))
    assert model.encode("abc") == [97, 256]
    other = BpeVocabulary(tokens=tokens, merges=merges[::-1])
    assert Bpe(other).encode("abc") == [257, 99]


def test_a_run_is_merged_from_the_left():
    assert merge([1, 1, 1, 1, 1], 1, 1, 2) == [2, 2, 1]
    assert merge([3, 1, 2, 1, 2], 1, 2, 4) == [3, 4, 4]


@settings(max_examples=60, deadline=None)
@given(texts, st.sampled_from(sorted(PATTERNS)))
def test_any_text_comes_back(text, pattern):
    vocabulary = train([text], BpeConfig(vocab=280, pattern=PATTERNS[pattern]))
    model = Bpe(vocabulary)
    numbers = model.encode(text)
    assert model.decode(numbers) == text
    assert len(numbers) <= len(text.encode())
    assert "".join(regex.findall(PATTERNS[pattern], text)) == text  # a pattern loses nothing


def test_more_merges_need_fewer_tokens():
    lengths = [
        len(Bpe(train([ENGLISH[:3_000]], BpeConfig(vocab=vocab))).encode(ENGLISH[:3_000]))
        for vocab in (256, 300, 400)
    ]
    assert lengths[0] == len(ENGLISH[:3_000].encode())
    assert lengths[0] > 1.3 * lengths[1] > 1.3 * lengths[2]


def test_bytes_that_are_no_text_become_replacement_characters():
    model = Bpe(train([], BpeConfig(vocab=256)))
    numbers = model.encode("中")
    assert len(numbers) == 3
    assert model.decode(numbers[:2]) == "\ufffd"
    with pytest.raises(ValueError, match="no token 999"):
        model.decode([999])


def test_special_tokens_are_whole_wherever_they_stand_the_longest_first():
    vocabulary = train([CHINESE[:200]], BpeConfig(vocab=300, specials=("<a>", "<a><b>")))
    model = Bpe(vocabulary)
    assert vocabulary.specials == {"<a>": 0, "<a><b>": 1}
    assert model.encode("<a><b><a>x") == [1, 0, *model.encode("x")]
    assert model.decode([1, 0]) == "<a><b><a>"
    assert len(vocabulary.tokens) == 298


def test_a_pair_must_be_common_enough():
    assert learnt(train(["abab ab", "cd"], BpeConfig(vocab=300, least=2))) == [b"ab"]


def test_prefix_space_and_whole_words():
    tokens = {i: bytes([i]) for i in range(256)} | {256: b"abc"}
    vocabulary = BpeVocabulary(tokens=tokens, merges=[], whole_words=True, prefix_space=True)
    model = Bpe(vocabulary)
    assert model.encode("abc") == [32, 97, 98, 99]  # " abc" is no token
    assert model.encode(" x") == [32, 120]
    plain = Bpe(BpeVocabulary(tokens=tokens, merges=[], whole_words=True))
    assert plain.encode("abc") == [256]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"vocab": 255}, "vocab must be at least 256, got 255"),
        ({"vocab": 256, "specials": ("a",)}, "vocab must be at least 257, got 256"),
        ({"least": 0}, "least must be at least 1, got 0"),
        ({"specials": ("a", "a")}, "specials must differ"),
        ({"pattern": "("}, "pattern must be a regular expression"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        BpeConfig(**bad)


def test_vocabularies_that_do_not_fit_are_refused():
    tokens = {i: bytes([i]) for i in range(256)}
    with pytest.raises(ValueError, match="1 are missing"):
        BpeVocabulary(tokens={i: tokens[i] for i in range(255)}, merges=[])
    with pytest.raises(ValueError, match="must be of tokens: 1, 2, 300"):
        BpeVocabulary(tokens=tokens, merges=[(1, 2, 300)])
    with pytest.raises(ValueError, match="must make its token: 1, 2, 3"):
        BpeVocabulary(tokens=tokens, merges=[(1, 2, 3)])


def test_the_alphabet_has_every_byte_once_and_printable_ones_first():
    assert sorted(ALPHABET) == list(range(256))
    assert bytes(ALPHABET[:3]) == b'!"#'
    assert PATTERNS["gpt2"] == GPT2
