import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import spread

from orrery.errors import OrreryError
from orrery.systems.language.bert import Bert, BertConfig
from orrery.systems.language.sentence_embedding import (
    SentenceEncoder,
    SentenceReader,
    in_batch_loss,
    mean_of_seen,
)
from orrery.systems.language.tokenizer_json import write_tokenizer
from orrery.systems.language.wordpiece import SPECIALS, WordPiece, WordPieceVocabulary

WORDS = ("a", "b", "c", "##a", "##b", "##c", ".")
VOCABULARY = WordPieceVocabulary(
    pieces={piece: i for i, piece in enumerate((*SPECIALS, *WORDS))}, specials=SPECIALS
)
SIZES = {"vocab": 12, "context": 12, "depth": 2, "heads": 2, "width": 8, "inner": 12}
TEXTS = ["abc a.", "b", "", "cab cab cab cab cab", "zz", "a b c"]


def make(longest=9):
    reader = SentenceReader(WordPiece(VOCABULARY), longest)
    return SentenceEncoder(spread(Bert(BertConfig(**SIZES)).double()), reader)


def test_a_text_is_read_between_its_ends_and_cut():
    reader = SentenceReader(WordPiece(VOCABULARY), 5)
    assert reader.numbers("") == [2, 3]
    assert reader.numbers("ab") == [2, 5, 9, 3]
    assert reader.numbers("ab ab ab") == [2, 5, 9, 5, 3]
    ids, seen = reader.batch([[2, 3], [2, 5, 3]])
    assert ids.tolist() == [[2, 3, 0], [2, 5, 3]]
    assert seen.tolist() == [[1, 1, 0], [1, 1, 1]]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text("abc. z", max_size=20), min_size=1, max_size=6), st.integers(1, 4))
def test_embeddings_are_those_of_each_text_alone_whatever_the_batch(texts, batch):
    model = make()
    found = model.encode(texts, batch=batch)
    assert found.shape == (len(texts), 8)
    alone = [model(torch.tensor([model.reader.numbers(text)])) for text in texts]
    torch.testing.assert_close(found, torch.cat(alone))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(texts)).double())
    assert not found.requires_grad


def test_it_is_the_mean_of_what_counts_made_one_long():
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    by_hand = torch.stack([x[0].mean(0), x[1, :2].mean(0), x[2, 0]])
    torch.testing.assert_close(mean_of_seen(x, seen), by_hand)
    torch.testing.assert_close(mean_of_seen(x), x.mean(1))
    model, ids = make(), torch.tensor([[2, 5, 8, 3]])
    mean = model.model(ids).last_hidden_state.mean(1)
    torch.testing.assert_close(model(ids), mean / mean.norm())
    assert not torch.allclose(model(ids), model.model(ids).last_hidden_state[:, 0], atol=0.1)


def test_a_folder_gives_the_encoder_back(tmp_path):
    model = make(7)
    model.model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path / "tokenizer.json", VOCABULARY)
    found = SentenceEncoder.from_pretrained(tmp_path)
    assert found.reader.longest == SIZES["context"]
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 7}))
    found = SentenceEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(found.encode(TEXTS), model.encode(TEXTS), rtol=0, atol=0)
    for told in (13, "7"):
        (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": told}))
        with pytest.raises(OrreryError, match="is refused: "):
            SentenceEncoder.from_pretrained(tmp_path)


def test_it_learns_which_answer_belongs_to_which_text():
    torch.manual_seed(0)
    model = SentenceEncoder(Bert(BertConfig(**SIZES, dropout=0.0)), make().reader)
    asked, answers = [
        model.reader.batch([model.reader.numbers(text) for text in texts])
        for texts in (["a a", "b b", "c c", "."], ["ab", "ca", "bc", "a ."])
    ]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = in_batch_loss(model(*asked), model(*answers))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1
    assert losses[-1] < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SentenceReader(WordPiece(VOCABULARY), 1), "longest must be at least 2, got 1"),
        (lambda: make(13), "longest must be at most context=12, got 13"),
        (lambda: make().encode(["a"], batch=0), "batch must be at least 1, got 0"),
        (
            lambda: SentenceReader(WordPiece(WordPieceVocabulary(pieces={"[UNK]": 0}))),
            r"the tokeniser must have \[PAD\]",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
