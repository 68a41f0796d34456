import pytest
import torch
from pydantic import ValidationError

from orrery.experiments.foundations._pointers import (
    PARTS,
    PLACES,
    PointerNet,
    combined,
    composed,
    rich,
)
from orrery.experiments.foundations.layer_exchange import SHAPES, LayerExchangeSettings
from orrery.lab.inline import run_inline

TINY = {"steps": 1, "batch": 2, "width": 4, "values": 2}


def generator():
    return torch.Generator().manual_seed(0)


def test_an_odd_width_is_refused():
    with pytest.raises(ValidationError, match="even"):
        LayerExchangeSettings(width=15)


def test_answers_follow_the_pointers():
    (shown, asked), (held, there), (terms, sums) = (
        task(3, 4, generator()) for task in (composed, rich, combined)
    )
    assert (shown.shape, asked.shape) == ((3, 1, PLACES), (3, PLACES, 3))
    assert (
        (held.shape, there.shape) == (terms.shape, sums.shape) == ((3, 5, PLACES), (3, PLACES, 4))
    )
    for row in range(3):
        to = shown[row, 0].tolist()
        assert sorted(to) == list(range(PLACES))
        for start in range(PLACES):
            place = to[start]
            for hop in range(3):
                place = to[place]
                assert asked[row, start, hop] == place
            target = held[row, 0, start]
            assert there[row, start].tolist() == held[row, 1:, target].tolist()
            own = terms[row, 1:, start] + terms[row, 1:, terms[row, 0, start]]
            assert sums[row, start].tolist() == (own % PLACES).tolist()


def test_what_each_part_does():
    torch.manual_seed(0)
    shown, _ = rich(2, 3, generator())
    other = shown.clone()
    other[:, 1, 5] = (other[:, 1, 5] + 1) % PLACES  # another token holds another value
    changes = {}
    for missing in ("", "exchange", "local", "residual"):
        net = PointerNet(4, 3, 8, 2, PARTS - {missing}).double()
        moved = (net(other) - net(shown)).abs().amax((0, 2, 3))
        changes[missing] = moved[torch.arange(PLACES) != 5].max()
        assert moved[5] > 1e-6
    assert changes["exchange"] == 0
    assert min(changes[name] for name in ("", "local", "residual")) > 1e-9


def test_silent_layers_let_the_stream_pass():
    """With nothing to add, the residual connection leaves tokens as they are; without it, none."""
    torch.manual_seed(0)
    for parts, kept in ((PARTS, True), (PARTS - {"residual"}, False)):
        net = PointerNet(4, 3, 8, 2, parts)
        for weight in net.layers.parameters():
            torch.nn.init.zeros_(weight)
        assert bool(net.layers(torch.ones(1, PLACES, 8)).any()) == kept


def test_with_one_hop_there_is_one_question(tmp_path):
    measured = run_inline("foundations/layer_exchange", tmp_path, ablation="one_hop", **TINY)
    for shape in ("deep", "wide"):
        assert measured[f"{shape}/composed"] == measured[f"{shape}/composed/first"]


def test_the_shapes_have_as_many_weights():
    width, sizes = LayerExchangeSettings().width, {}
    for shape, (layers, times) in SHAPES.items():
        net = PointerNet(1, 1, times * width, layers)
        sizes[shape] = sum(weight.numel() for weight in net.layers.parameters())
    assert sizes["deep"] == pytest.approx(sizes["wide"], rel=0.05)
