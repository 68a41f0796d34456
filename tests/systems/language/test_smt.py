import itertools

import numpy as np
import pytest

from orrery.metrics.bleu import bleu
from orrery.systems.language.smt import Smt, SmtConfig

ADJECTIVES, NOUNS = range(1, 7), range(7, 13)


def corpus(count, seed):
    """Verb, adjective, noun, verb: in the target the adjective follows, and words are 20 higher."""
    rng = np.random.default_rng(seed)
    sources = []
    for _ in range(count):
        source = []
        for _ in range(rng.integers(1, 3)):
            source += [rng.integers(13, 16), rng.choice(ADJECTIVES), rng.choice(NOUNS)]
        sources.append(tuple(int(word) for word in source))
    targets = []
    for source in sources:
        target = list(source)
        for i in range(1, len(target), 3):
            target[i : i + 2] = target[i + 1], target[i]
        targets.append(tuple(20 + word for word in target))
    return sources, targets


@pytest.fixture(scope="module")
def smt():
    return Smt(SmtConfig(target_vocab=40, unknown=39), *corpus(200, seed=0))


def test_new_sentences_are_translated_with_the_adjective_behind(smt):
    sources, targets = corpus(30, seed=1)
    written = [[str(word) for word in smt.translate(source)] for source in sources]
    references = [[[str(word) for word in target]] for target in targets]
    assert bleu(written, references).score > 90
    word_by_word = [[str(20 + word) for word in source] for source in sources]
    assert bleu(word_by_word, references).score < 50


def test_the_decoder_finds_what_trying_everything_finds(smt):
    """All orders and options of a short sentence, scored by the docstring's sum."""
    wide = Smt(SmtConfig(target_vocab=40, unknown=39, beam=10_000), *corpus(60, seed=0))
    for source in corpus(60, seed=3)[0][:3]:
        source = source[:3]
        best = max(every(wide, source))
        assert total(wide, source, wide.translate(source)) == pytest.approx(best[0])


def every(smt, source):
    """Every way to cut the source in runs, to order these, and to translate each."""
    options = smt._options(source)
    for cuts in itertools.product([True, False], repeat=len(source) - 1):
        borders = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(source)]
        runs = list(itertools.pairwise(borders))
        if all(run in options for run in runs):
            for ordered in itertools.permutations(runs):
                for chosen in itertools.product(*(options[run] for run in ordered)):
                    yield scored(smt, ordered, chosen)


def scored(smt, ordered, chosen):
    written, end, score, c = (), 0, 0.0, smt.config
    for (first, last), option in zip(ordered, chosen, strict=True):
        score += c.forward * option.forward + c.backward * option.backward
        score -= c.order_cost * abs(first - end)
        written, end = written + option.target, last
    text = np.array([*smt._language.start(), *written, c.separator])
    nats = smt._language.model.surprise(text)[c.order - 1 :].sum()
    return score + c.word_bonus * (len(written) + 1) - c.language * nats, written


def total(smt, source, written):
    return max(score for score, other in every(smt, source) if other == written)


def test_a_word_never_seen_is_passed_on_or_marked(smt):
    assert 39 in smt.translate((13, 17, 7))
    plain = Smt(SmtConfig(target_vocab=40), *corpus(50, seed=0))
    assert 17 in plain.translate((13, 17, 7))


@pytest.mark.parametrize("name", ["target_vocab", "order", "longest", "steps", "beam", "jump"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        SmtConfig(**{name: 0})
