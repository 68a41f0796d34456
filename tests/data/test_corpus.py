import torch

from orrery.data.corpus import Corpus


def test_both_parts_are_numbered_by_the_characters_of_the_first():
    corpus = Corpus.from_split(("abcabca", "cad"))
    assert corpus.characters.decode(corpus.training.tolist()) == "abcabca"
    assert corpus.characters.decode(corpus.held_out.tolist()) == "ca\ufffd"
    assert corpus.training.dtype == torch.int64


def test_rare_characters_are_unknown_in_both_parts():
    corpus = Corpus.from_split(("aaaab", "ba"), at_least=2)
    assert len(corpus.characters) == 2
    assert corpus.characters.decode(corpus.training.tolist()) == "aaaa\ufffd"
    assert corpus.characters.decode(corpus.held_out.tolist()) == "\ufffda"
