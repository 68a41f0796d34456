"""The parts that the experiment is made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orrery.data.reviews import Reviews
from orrery.experiments.language._fine_tuning import UsedPieces, stand_in
from orrery.experiments.language._reviews import Part, ReviewParts, bag, probe
from orrery.systems.language.bert import Bert
from orrery.systems.language.text_classification import TextClassificationConfig, TextClassifier
from tests.systems.language.published import spread

WORDS = ("good", "fine", "great", "bad", "dull", "poor", "film", "plot", "cast", "the", "a", "so")


def reviews(count, seed):
    """A word that decides, and words that do not."""
    random = np.random.default_rng(seed)
    texts = [
        " ".join([WORDS[i % 6], *random.choice(WORDS[6:], 1 + random.integers(9))])
        for i in range(count)
    ]
    return Reviews(tuple(texts), np.array([1.0 if i % 6 < 3 else -1.0 for i in range(count)]))


def corpus(counts=(60, 60)):
    parts = [reviews(120, seed) for seed in range(3)]
    return ReviewParts.drawn(parts, 0.5, counts, np.random.default_rng(0))


def test_the_first_labels_are_among_the_more_and_both_parts_are_drawn():
    whole = corpus()
    fewer = whole.first(20)
    assert fewer.train.texts == whole.train.texts[:20]
    assert fewer.test is whole.test
    assert [len(part.texts) for part in whole.parts] == [60, 60, 60]
    mixed = whole.shuffled(np.random.default_rng(1))
    assert mixed.train.texts == whole.train.texts
    assert sorted(mixed.train.labels) == sorted(whole.train.labels)
    assert (mixed.train.labels != whole.train.labels).any()


def test_a_model_of_the_used_pieces_is_the_model():
    whole = corpus()
    encoder = stand_in(whole.train.texts)
    model = spread(encoder.model)
    texts = whole.test.texts[:7]
    pieces = UsedPieces(encoder.reader, texts)
    assert len(pieces) < model.config.vocab
    ids, seen = pieces.read(texts)
    all_ids, all_seen = encoder.reader.batch([encoder.reader.numbers(text) for text in texts])
    expected = model(all_ids, all_seen).last_hidden_state
    torch.testing.assert_close(pieces.cut(model).eval()(ids, seen).last_hidden_state, expected)
    assert torch.equal(seen, all_seen)


def test_classes_keep_the_order_of_the_texts():
    whole = corpus()
    encoder = stand_in(whole.train.texts)
    pieces = UsedPieces(encoder.reader, whole.test.texts)
    model = TextClassifier(pieces.cut(spread(encoder.model)), TextClassificationConfig()).eval()
    scores = model(*pieces.read(whole.test.texts)).logits
    with torch.no_grad():  # the middle between the classes runs through the texts
        model.classify.bias[0] -= (scores[:, 0] - scores[:, 1]).median()
    alone = [model(*pieces.read([text])).logits.argmax(1) for text in whole.test.texts]
    found = pieces.classes(model, whole.test.texts, batch=7)
    assert torch.equal(found, torch.cat(alone))
    assert 0 < found.sum() < len(found)


def test_every_text_is_as_likely_in_a_batch_and_its_neighbours_are_as_long():
    whole = corpus()
    encoder = stand_in(whole.train.texts)
    texts = tuple(f"{'a ' * i}film {i}" for i in range(20))
    part, pieces = Part(texts, np.arange(20) % 2), UsedPieces(encoder.reader, texts)
    counts, padding = np.zeros(20), []
    for step in range(600):
        ids, labels, seen = pieces.batch(part, 4, np.random.default_rng(step))
        for row, mask, label in zip(ids, seen, labels, strict=True):
            place = [len(pieces.rows[text]) for text in texts].index(int(mask.sum()))
            assert torch.equal(row[: mask.sum()], pieces.read([texts[place]])[0][0])
            assert label == place % 2
            counts[place] += 1
        padding.append(1 - float(seen.double().mean()))
    assert counts.min() > 80
    assert counts.max() < 165
    assert np.mean(padding) < 0.25


def test_a_bag_of_words_and_a_probe_find_what_decides():
    whole = corpus()
    assert bag(whole) > 0.9
    assert bag(whole, characters=True) > 0.9
    told = [torch.tensor(part.labels, dtype=torch.float32)[:, None] for part in whole.parts]
    assert probe(whole.first(20), told) == 1
    wrong = replace(whole, test=replace(whole.test, labels=1 - whole.test.labels))
    assert bag(wrong) < 0.1  # nothing is fitted to the test


@pytest.mark.parametrize("least", [0.5, 1.0])
def test_near_neutral_is_left_out(least):
    scored = Reviews(("a", "b", "c", "d"), np.array([-2.0, -0.6, 0.2, 1.2]))
    part = Part.drawn(scored, least, 9, np.random.default_rng(0))
    assert set(part.texts) == ({"a", "b", "d"} if least == 0.5 else {"a", "d"})
    assert isinstance(stand_in(["ab ab"]).model, Bert)
