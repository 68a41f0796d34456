import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.rms_norm import RmsNorm


def make(width, epsilon=1e-6, dtype=torch.float64):
    torch.manual_seed(width)
    norm = RmsNorm(width, epsilon=epsilon).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(width))
    return norm


@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=3), width=st.integers(1, 9),
    epsilon=st.sampled_from([1e-6, 0.5]),
)  # fmt: skip
def test_it_is_torchs_and_the_formula(shape, width, epsilon):
    norm, x = make(width, epsilon), torch.randn(*shape, width, dtype=torch.float64)
    formula = x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), formula)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (width,), norm.weight, epsilon))


@settings(max_examples=8, deadline=None)
@given(shape=st.lists(st.integers(1, 3), min_size=0, max_size=2), width=st.integers(1, 5))
def test_its_gradient_is_right(shape, width):
    norm = make(width, 0.1)
    x = torch.randn(*shape, width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(
        norm, {"weight": w}, x), (x, norm.weight))  # fmt: skip


def test_a_longer_vector_gives_the_same_and_a_shifted_one_does_not():
    norm, x = make(8, 1e-12), torch.randn(3, 8, dtype=torch.float64)
    torch.testing.assert_close(norm(7 * x), norm(x))
    assert not torch.allclose(norm(x + 1), norm(x), atol=0.1)  # LayerNorm would not see the shift


def test_in_bfloat16_it_is_rounded_as_llamas():
    norm, x = make(64, dtype=torch.bfloat16), torch.randn(50, 64).bfloat16()
    wide = x.float()
    theirs = norm.weight * (wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()).bfloat16()
    assert float((norm(x) != theirs).float().mean()) < 0.01
    torch.testing.assert_close(norm(x), theirs)
