import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.scaling.compute_6nd import (
    Shape,
    attention_share,
    forward_operations,
    training_compute,
    training_operations,
)


def counted(shape: Shape, batch: int) -> tuple[float, float]:
    """What torch counts a token, forward and in training; plain attention, which it can count."""
    model = Gpt(GptConfig(
        vocab=shape.vocab, context=shape.context, depth=shape.depth, heads=1, width=shape.width
    ))  # fmt: skip
    tokens = torch.zeros(batch, shape.context, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH):
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            model(tokens)
        with FlopCounterMode(display=False) as training:
            model.loss(tokens, tokens).backward()
    return forward.get_total_flops() / tokens.numel(), training.get_total_flops() / tokens.numel()


@pytest.mark.parity
@given(st.integers(1, 3), st.integers(1, 24), st.integers(2, 16), st.integers(2, 40))
@settings(max_examples=8, deadline=None)
def test_is_what_torch_counts_to_the_last_operation(depth, width, context, vocab):
    shape = Shape(depth=depth, width=width, context=context, vocab=vocab)
    forward, training = counted(shape, batch=2)
    assert forward == forward_operations(shape).total
    assert training == training_operations(shape).total


def test_parameters_are_those_of_the_blocks_matrices():
    shape = Shape(depth=3, width=16, context=8, vocab=11)
    model = Gpt(GptConfig(vocab=11, context=8, depth=3, heads=2, width=16))
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    assert shape.parameters == sum(p.numel() for p in matrices)
    assert shape.embeddings == model.embed.weight.numel() + model.place.weight.numel()


def test_the_rule_is_the_weights_part():
    shape = Shape(depth=2, width=64, context=128, vocab=96)
    assert training_operations(shape).weights == 6 * shape.parameters
    assert training_compute(shape.parameters, 1e6) == 6 * shape.parameters * 1e6


def test_gpt_3():
    """Brown et al. 2020, table D.1: 175 billion parameters, 300 billion tokens, 3.14e23."""
    assert training_compute(174.6e9, 300e9) == pytest.approx(3.14e23, rel=2e-3)
    shape = Shape(depth=96, width=12_288, context=2_048, vocab=50_257)
    assert shape.parameters == pytest.approx(174e9, rel=2e-3)
    assert attention_share(shape) == pytest.approx(2_048 / (12 * 12_288), rel=1e-3)


def test_attention_matters_where_the_context_is_long_for_the_width():
    narrow = Shape(depth=6, width=512, context=1_024, vocab=50_257)
    assert attention_share(narrow) == pytest.approx(1 / 6, rel=2e-3)
    assert attention_share(narrow, causal=False) == pytest.approx(1 / 3, rel=2e-3)
    deeper = Shape(depth=12, width=512, context=1_024, vocab=50_257)
    assert attention_share(deeper) == attention_share(narrow)


@pytest.mark.parametrize("name", ["depth", "width", "context", "vocab"])
def test_bad_sizes_are_refused(name):
    sizes = {"depth": 1, "width": 1, "context": 1, "vocab": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Shape(**sizes)


def test_bad_budgets_are_refused():
    with pytest.raises(ValueError, match="must be above 0"):
        training_compute(0, 1e6)
