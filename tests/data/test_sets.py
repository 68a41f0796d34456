"""The real sets: counts, order, splits without leakage. A set that cannot be had is skipped."""

import ast
import subprocess
import sys

import numpy as np
import pytest

from orrery.data import (
    bibles,
    digits,
    fashion_mnist,
    king_james,
    mnist,
    python_stdlib,
    reina_valera,
    shakespeare,
    web_bible,
)
from orrery.data.fetch import bad_files, folder, get, is_present
from orrery.data.sets import CARDS
from orrery.errors import OrreryError


def have(module):
    """Get the set, or skip the test."""
    try:
        get(module.CARD)
    except OrreryError as error:
        pytest.skip(str(error))
    return module


@pytest.mark.parametrize("module", [digits, mnist, fashion_mnist])
def test_images_are_what_the_card_says(module):
    train, test = have(module).load()
    counts = module.CARD.counts
    assert (len(train), len(test)) == (counts["train"], counts["test"])
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert train.images.flags.writeable
    assert train.images.max() == test.images.max() == (16 if module is digits else 255)
    for part in (train, test):
        share = np.bincount(part.labels, minlength=counts["classes"]) / len(part)
        assert np.abs(share - 1 / counts["classes"]).max() < 0.02


@pytest.mark.parametrize("module", [digits, mnist])
def test_no_picture_is_in_both_parts(module):
    train, test = have(module).load()
    pictures = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in pictures for image in test.images)


def test_any_first_part_of_mnist_is_balanced():
    train, _ = have(mnist).load()
    np.testing.assert_array_equal(train.labels[:20], np.tile(np.arange(10), 2))


def test_fashion_mnist_pictures_match_their_classes():
    train, test = have(fashion_mnist).load()
    means = np.stack([train.images[train.labels == k].mean(0).ravel() for k in range(10)])
    flat = test.images.reshape(len(test), -1).astype(np.float64)
    nearest = (np.square(means).sum(1) - 2 * flat @ means.T).argmin(1)
    assert 0.6 < np.mean(nearest == test.labels) < 0.75  # a class's mean picture tells most apart
    assert len(fashion_mnist.CLASSES) == 10


def test_shakespeare_is_clean_and_split_by_work():
    works = have(shakespeare).works()
    assert len(works) == shakespeare.CARD.counts["works"]
    assert len(shakespeare.HELD_OUT) == shakespeare.CARD.counts["held out"]
    text = shakespeare.load()
    assert "To be, or not to be,--that is the question" in text
    assert "Gutenberg" not in text.title()
    assert "\r" not in text
    assert text.isascii()
    train, held_out = shakespeare.split()
    assert 0.05 < len(held_out) / len(text) < 0.15
    assert len(train) + len(held_out) == len(text) - 2  # one empty line less
    assert long_lines(train).isdisjoint(long_lines(held_out))


def long_lines(text):
    """Lines of verse or prose; stage directions and headings recur."""
    return {line for line in text.splitlines() if len(line) > 40}


def test_king_james_has_every_verse_once():
    books = have(king_james).books()
    verses = [verse for book in books.values() for verse in book.splitlines()]
    assert (len(books), len(verses)) == tuple(king_james.CARD.counts.values())
    assert books["John"].splitlines()[-1].endswith("that should be written. Amen.")
    assert "Jesus wept." in verses
    assert not any(mark in book for mark in "<>\\¶&" for book in books.values())
    train, held_out = king_james.split()
    assert 0.05 < len(held_out) / len(train) < 0.15
    shared = set(train.splitlines()) & set(held_out.splitlines())
    assert len(shared) <= 8  # formulas: "And the word of the LORD came unto me, saying,"


def test_bibles_are_aligned_verse_by_verse():
    have(web_bible)
    have(reina_valera)
    pairs = bibles.pairs()
    assert len(pairs) > 31_000
    by_english = {" ".join(pair.english): " ".join(pair.spanish) for pair in pairs}
    assert by_english["jesus wept ."] == "y lloró jesús ."
    first = "in the beginning , god created the heavens and the earth ."
    assert by_english[first] == "en el principio crió dios los cielos y la tierra ."
    lengths = np.array([(len(pair.english), len(pair.spanish)) for pair in pairs])
    assert np.corrcoef(lengths.T)[0, 1] > 0.8  # of verses that do not belong together: about 0
    assert not any(set("<>\\&") & set(word) for pair in pairs for word in pair.english)


def test_bibles_are_split_by_book_and_length():
    have(web_bible)
    have(reina_valera)
    train, held_out = bibles.split(longest=16)
    assert {pair.book for pair in held_out} == set(bibles.HELD_OUT)
    assert {pair.book for pair in train}.isdisjoint(bibles.HELD_OUT)
    assert max(len(side) for pair in train for side in (pair.english, pair.spanish)) == 16
    everything = bibles.split()
    assert sum(map(len, everything)) == len(bibles.pairs())
    assert bibles.words("God’s Word: ¿No? 3") == ("god’s", "word", ":", "¿", "no", "?", "3")


def test_tang_poems_share_no_line_across_the_split():
    from orrery.data import tang_poems

    if not is_present(tang_poems.CARD):
        pytest.skip("86 MB to fetch: tested where it is already there (orrery data get tang_poems)")
    poems = tang_poems.poems()
    assert len(poems) == tang_poems.CARD.counts["poems"]
    assert "牀前看月光，疑是地上霜。" in {line for poem in poems for line in poem.lines}
    train, held_out = tang_poems.split()
    assert held_out.count("\n\n") + 1 == tang_poems.CARD.counts["held out"]
    assert train.count("\n\n") + held_out.count("\n\n") + 2 == len(poems)
    lines = [{line for line in part.splitlines() if "。" in line} for part in (train, held_out)]
    assert lines[0].isdisjoint(lines[1])


def test_the_standard_library_is_code_without_tests():
    modules = python_stdlib.modules()
    assert {"argparse", "asyncio", "json", "turtle"} <= set(modules)
    assert not {"test", "site-packages"} & set(modules)
    ast.parse(modules["argparse"])
    train, held_out = python_stdlib.split()
    assert len(held_out) / len(train) < 0.3
    assert modules["argparse"] in train
    assert modules["argparse"] not in held_out


@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.sha256])
def test_what_is_here_is_as_released_and_of_the_size_on_the_card(card):
    if not is_present(card):
        pytest.skip(f"{card.name} is not here")
    assert bad_files(card) == []
    assert sum((folder(card) / file).stat().st_size for file in card.sha256) == card.size


def test_importing_the_sets_imports_no_torch_and_none_of_their_packages():
    code = (
        "import sys, orrery.data.sets;"
        "print({'torch', 'mlxtend', 'shksprdata', 'sklearn', 'pickle5'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
