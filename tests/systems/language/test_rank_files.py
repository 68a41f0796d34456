import base64
import json

import pytest
from tests.mixed_text import MIXED

from orrery.errors import OrreryError
from orrery.systems.language.bpe import CL100K, GPT2, BpeConfig
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train
from orrery.systems.language.rank_files import (
    read_gpt2,
    read_tiktoken,
    write_gpt2,
    write_tiktoken,
)

LINES = MIXED[:30_000].splitlines(keepends=True)
VOCABULARY = train(LINES, BpeConfig(vocab=800, pattern=GPT2))


def test_gpt2s_files_are_read_as_written(tmp_path):
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    write_gpt2(*files, VOCABULARY)
    assert files[1].read_text("utf8").splitlines()[0] == "#version: 0.2"
    assert read_gpt2(*files) == VOCABULARY


def test_gpt2s_end_of_text_is_special(tmp_path):
    vocabulary = train(LINES, BpeConfig(vocab=300, specials=("<|endoftext|>",)))
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    write_gpt2(*files, vocabulary)
    assert read_gpt2(*files) == vocabulary


@pytest.mark.parity
def test_the_library_reads_gpt2s_files(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    write_gpt2(*files, VOCABULARY)
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*map(str, files)))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert theirs.encode(MIXED).ids == FastBpe(read_gpt2(*files)).encode(MIXED)


@pytest.mark.parity
def test_tiktoken_reads_ranks_and_joins_them_alike(tmp_path):
    load = pytest.importorskip("tiktoken.load")
    import tiktoken

    path = tmp_path / "ranks.tiktoken"
    write_tiktoken(path, VOCABULARY)
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in path.read_text().splitlines())
    }
    assert hasattr(load, "load_tiktoken_bpe")
    for pattern in (GPT2, CL100K):
        theirs = tiktoken.Encoding(
            "x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<e>": 900}
        )
        ours = FastBpe(read_tiktoken(path, pattern=pattern, specials={"<e>": 900}))
        assert ours.encode(MIXED) == theirs.encode_ordinary(MIXED)
        assert ours.encode("a<e>b") == theirs.encode("a<e>b", allowed_special="all")


def test_a_token_has_a_merge_for_every_way_to_cut_it(tmp_path):
    lines = [base64.b64encode(bytes([i])).decode() + f" {i}" for i in range(256)]
    for token, rank in ((b"ab", 256), (b"bc", 257), (b"abc", 258)):
        lines.append(f"{base64.b64encode(token).decode()} {rank}")
    (tmp_path / "ranks").write_text("\n".join(lines))
    merges = read_tiktoken(tmp_path / "ranks").merges
    assert merges == [(97, 98, 256), (98, 99, 257), (97, 257, 258), (256, 99, 258)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("YQ==", "line 257 is not a token"), ("YQ== x", "line 257 is not a token"),
        ("Y Q", "line 257 is not"), ("YWI= -1", "line 257 has the rank -1"),
        ("YWI= 5", "share a rank"), ("!!!! 300", "line 257 is not a token"),
    ],
)  # fmt: skip
def test_malformed_ranks_are_refused(line, message, tmp_path):
    lines = [base64.b64encode(bytes([i])).decode() + f" {i}" for i in range(256)]
    (tmp_path / "ranks").write_text("\n".join([*lines, line]))
    with pytest.raises(OrreryError, match=message):
        read_tiktoken(tmp_path / "ranks")


def test_ranks_without_all_bytes_or_without_text_are_refused(tmp_path):
    (tmp_path / "ranks").write_text("YQ== 0\n")
    with pytest.raises(OrreryError, match="255 are missing"):
        read_tiktoken(tmp_path / "ranks")
    (tmp_path / "ranks").write_bytes(b"\xff\xfe")
    with pytest.raises(OrreryError, match="is refused"):
        read_tiktoken(tmp_path / "ranks")
    with pytest.raises(OrreryError, match="cannot read"):
        read_tiktoken(tmp_path / "none")


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        ("[]", "", "object of token numbers"), ('{"a": "b"}', "", "object of token numbers"),
        ('{"a": 0}', "", "are missing"), (None, "a", "not of two tokens"),
        (None, "a b c", "not of two tokens"), ("{", "", "is damaged"),
    ],
)  # fmt: skip
def test_malformed_files_of_gpt2_are_refused(vocab, merges, message, tmp_path):
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    write_gpt2(*files, VOCABULARY)
    if vocab is not None:
        files[0].write_text(vocab)
    files[1].write_text(merges)
    with pytest.raises(OrreryError, match=message):
        read_gpt2(*files)


def test_ranks_are_not_written_where_numbers_do_not_follow_the_merges(tmp_path):
    whole = json.loads(json.dumps([list(m) for m in VOCABULARY.merges]))
    swapped = [tuple(m) for m in [whole[1], whole[0], *whole[2:]]]
    tokens = dict(VOCABULARY.tokens)
    other = type(VOCABULARY)(tokens=tokens, merges=swapped)
    with pytest.raises(OrreryError, match="in the order of its merges"):
        write_tiktoken(tmp_path / "ranks", other)
