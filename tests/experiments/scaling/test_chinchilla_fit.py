from contextlib import closing

import numpy as np
import pytest
import torch

from orrery.data.characters import Characters
from orrery.data.corpus import Corpus
from orrery.experiments.scaling import _laws
from orrery.experiments.scaling._ladder import (
    Recipe,
    climb,
    frequencies_loss,
    operations,
    rung,
    score,
    shuffled,
    sinusoids,
)
from orrery.experiments.scaling.chinchilla_fit import ChinchillaFitSettings, foresight
from orrery.lab import Lab
from orrery.systems.scaling.chinchilla import ChinchillaLaw
from orrery.systems.scaling.compute_6nd import Shape

RECIPE = Recipe(depth=1, heads=1, context=8, batch=4, rate=0.2, warmup=4)
LAW = ChinchillaLaw(floor=1.3, a=8.0, alpha=0.35, b=120.0, beta=0.45)


def corpus(text: str = "abcabdabe" * 60) -> Corpus:
    return Corpus.from_split((text, text[:200]))


def planted_curves(widths=(8, 12, 16, 24, 32, 48), top: float = 1e11):
    shapes = {w: Shape(depth=2, width=w, context=32, vocab=86) for w in widths}
    curves = {}
    for w, shape in shapes.items():
        tokens = [round(top / 6 / shape.parameters * 2 ** (-k / 2)) for k in range(16)][::-1]
        loss = LAW.loss(np.full(16, float(shape.parameters)), np.array(tokens, dtype=float))
        curves[w] = dict(zip(tokens, map(float, loss), strict=True))
    return curves, shapes


def test_points_lie_on_lines_of_equal_compute_within_their_range():
    settings = ChinchillaFitSettings()
    for parameters, reach in ((1_536, 1.0), (24_576, 1.0), (55_296, 6.0)):
        counts = np.array(settings.token_counts(parameters, reach))
        octaves = 2 * np.log2(6 * parameters * counts / (settings.budget * reach))
        np.testing.assert_allclose(octaves, octaves.round(), atol=1e-9)
        assert (counts >= settings.first_tokens).all()
        assert (counts <= settings.most_tokens).all()


@torch.no_grad()
def test_rungs_start_alike_whatever_their_width():
    for width in (8, 64):
        model = rung(width, 20, RECIPE)
        up = model.blocks[0].feed_forward.up.weight
        assert float(up.std()) * width**0.5 == pytest.approx(1, rel=0.2)
        assert float(model.embed.weight.std()) * width**0.5 == pytest.approx(1, rel=0.2)
        assert float(model.place.weight.square().mean()) * width == pytest.approx(4, rel=0.05)


def test_sinusoids_tell_places_apart_and_shift_by_a_rotation():
    table = sinusoids(32, 16)
    assert table.shape == (32, 16)
    assert torch.pdist(table).min() > 0.5
    gram = table @ table.T
    torch.testing.assert_close(gram[1:, 1:], gram[:-1, :-1], atol=1e-4, rtol=1e-4)


def test_a_climb_learns_scores_on_the_way_and_resumes(tmp_path):
    text = corpus()
    windows = text.held_out[:180].view(-1, 9)
    curves = []
    for attempt in range(2):
        torch.manual_seed(0)
        with closing(Lab(tmp_path, seed=0)) as lab:
            curves.append(climb(8, [320.0, 1_600.0], RECIPE, text, windows, lab))
        if attempt == 0:
            untrained = score(rung(8, len(text.characters), RECIPE), windows)
    assert list(curves[0]) == [320, 1_600]
    assert curves[0] == curves[1]  # the second time nothing was trained again
    assert curves[0][1_600] < 0.8 * untrained


def test_shuffled_text_has_the_same_characters_in_no_order(tmp_path):
    text = corpus()
    with closing(Lab(tmp_path, seed=0)) as lab:
        mixed = shuffled(text, lab)
    assert torch.equal(mixed.training.sort().values, text.training.sort().values)
    assert not torch.equal(mixed.training, text.training)
    even = Corpus(Characters("ab"), torch.tensor([0, 1] * 500), torch.tensor([0]))
    assert frequencies_loss(even, torch.tensor([0, 1])) == pytest.approx(np.log(2), rel=1e-3)


def test_what_is_planted_is_found_and_foretold():
    curves, shapes = planted_curves()
    runs = _laws.runs_of(curves, {w: shape.parameters for w, shape in shapes.items()})
    budget = 1e11 / 8
    fitted = runs.where(runs.compute <= 1.01 * budget)
    found = _laws.parametric_law(fitted, budget)
    assert found["chinchilla/alpha"] == pytest.approx(LAW.alpha, rel=1e-2)
    assert found["chinchilla/log optimum off by"] < 1e-5
    wide = runs.parameters >= 12 * 2 * 32**2
    last = runs.where(wide & (runs.compute >= 0.97 * runs.compute.max()))
    foretold = _laws.predictions(fitted, last, float(fitted.loss.min()))
    assert foretold["chinchilla/worst error"] < 1e-3 < foretold["kaplan/worst error"]
    assert foresight(foretold) > 0
    assert _laws.inside(fitted, _laws.budgets_up_to(budget)) > 0
    assert _laws.recovery(fitted, np.random.default_rng(0)) < 0.1
    assert _laws.floor_gain(curves) > 0
    gained = _laws.returns(runs, budget, float(runs.sizes[0]), float(runs.sizes[-1]))
    assert gained["early gain"] > gained["late gain"] > 0
    assert gained["halvings of data"] > 1
    slopes = _laws.exponents(runs, float(runs.sizes[-1]))
    assert all(value > 0 for value in slopes.values())


def test_nothing_is_foretold_where_nothing_scales():
    curves, shapes = planted_curves()
    rng = np.random.default_rng(0)
    flat = {w: {d: 3.3 + 1e-3 * rng.normal() for d in curve} for w, curve in curves.items()}
    runs = _laws.runs_of(flat, {w: shape.parameters for w, shape in shapes.items()})
    fitted = runs.where(runs.compute <= 1e10)
    last = runs.where(runs.compute >= 0.97 * runs.compute.max())
    assert foresight(_laws.predictions(fitted, last, float(fitted.loss.min()))) < 0.01
    budgets = _laws.budgets_up_to(1e10)
    exponents = _laws.allocations(fitted, fitted, budgets, 10, rng)
    assert np.isfinite(list(exponents.values())).all()


def test_operations_are_those_counted():
    shapes = {w: Shape(depth=1, width=w, context=8, vocab=11) for w in (8, 16)}
    found = operations({w: rung(w, 11, RECIPE) for w in shapes}, shapes)
    assert found["operations/off by"] < 1e-12
    assert found["operations/over 6ND, narrowest"] > found["operations/over 6ND, widest"] > 1
