"""`orrery.inference.step`: packing, and the products of the compiled step."""

import pytest
import torch

from orrery.inference import step as native
from orrery.inference.step import KERNELS, Matrix, PlaceCache, Step, StepLayer, StepSizes
from tests.inference.stored_maps import floats, in_order, q4_1, q8_0

pytestmark = pytest.mark.skipif(native.library() is None, reason="built without a C compiler")
SIZES = StepSizes(
    width=32, heads=2, key_heads=1, head_size=16, inner=64, vocab=40, context=70, epsilon=1e-5
)


def random_step(make, *, threads=1, kernels="tiles", seed=0):
    """A layer and a head of random weights; the same weights as a function."""
    generator = torch.Generator().manual_seed(seed)
    s, weights = SIZES, {}

    def matrix(name, columns, *rows, in_turn=False):
        drawn = [make(n, columns // 32, generator) for n in rows]
        weights[name] = [numbers for _, numbers in drawn]
        maps = [in_order(stored, n) for (stored, _), n in zip(drawn, rows, strict=True)]
        return Matrix(maps, columns, in_turn=in_turn)

    gains = torch.rand(3, s.width, generator=generator) + 0.5
    layer = StepLayer(
        norm_attention=gains[0], norm_feed_forward=gains[1], qkv=matrix("qkv", s.width, 32, 16, 16),
        out=matrix("out", 32, s.width), down=matrix("down", s.inner, s.width),
        gate_up=matrix("gate_up", s.width, s.inner, s.inner, in_turn=True),
    )  # fmt: skip
    angles = torch.rand(s.context, s.head_size // 2, generator=generator) * 6
    turns = angles.cos(), angles.sin()
    head = matrix("head", s.width, s.vocab)
    step = Step(s, [layer], gains[2], head, turns, threads=threads, kernels=kernels)
    return step, lambda rows: whole(rows.double(), weights, gains.double(), turns)


def whole(x, weights, gains, turns):
    """The same model in double precision, all places at once."""
    w = {name: [one.double() for one in maps] for name, maps in weights.items()}
    cos, sin = (part[: len(x)].double() for part in turns)

    def norm(x, gain):
        return x / (x.square().mean(dim=-1, keepdim=True) + SIZES.epsilon).sqrt() * gain

    def turn(x):
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    h = norm(x, gains[0])
    q, k, v = (h @ one.T for one in w["qkv"])
    heads = [
        torch.nn.functional.scaled_dot_product_attention(
            turn(one)[None], turn(k)[None], v[None], is_causal=True
        )[0]
        for one in q.chunk(2, dim=-1)
    ]
    x = x + torch.cat(heads, dim=-1) @ w["out"][0].T
    h = norm(x, gains[1])
    gate, up = (h @ one.T for one in w["gate_up"])
    x = x + (torch.nn.functional.silu(gate) * up) @ w["down"][0].T
    return norm(x, gains[2]) @ w["head"][0].T


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("make", [q4_1, q8_0, floats])
def test_a_text_scores_as_the_same_weights_in_double_precision(make, kernels):
    """Also beyond the first room of the cache."""
    step, wanted = random_step(make, kernels=kernels)
    rows = torch.randn(40, SIZES.width, generator=torch.Generator().manual_seed(1))
    cache = step.new_cache()
    read = [step.read(part, cache) for part in rows.split([1, 20, 1, 1, 17])]
    found, want = torch.cat(read), wanted(rows)[[0, 20, 21, 22, 39]]
    assert want.std() > 0.3
    # Keys and values are in half precision; floats were rounded to eight bits.
    assert (found - want).norm() / want.norm() < (0.03 if make is floats else 0.001)
    assert len(cache) == 40
    assert cache.keys.shape[2] == 64  # the room it began with, doubled


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("make", [q4_1, q8_0])
def test_a_product_has_thirteen_bits(make, kernels):
    generator = torch.Generator().manual_seed(5)
    stored, weight = make(40, 1, generator)
    head, gain = Matrix([in_order(stored, 40)], 32), torch.ones(32)
    turns = (torch.ones(70, 8), torch.zeros(70, 8))
    step = Step(SIZES, [], gain, head, turns, threads=2, kernels=kernels)
    x = torch.randn(32, generator=generator)
    want = weight @ (x / (x.square().mean() + SIZES.epsilon).sqrt())
    found = step.read(x[None], PlaceCache(1, 1, 16))[0]
    assert (found - want).norm() / want.norm() < 2**-13


def test_a_plain_and_a_fast_step_live_side_by_side():
    rows = torch.randn(9, SIZES.width, generator=torch.Generator().manual_seed(1))
    plain, _ = random_step(q4_1, kernels="plain")
    before = plain.read(rows, plain.new_cache())
    fast, _ = random_step(q4_1, kernels="tiles")
    torch.testing.assert_close(fast.read(rows, fast.new_cache()), before, atol=1e-3, rtol=1e-3)
    assert plain.read(rows, plain.new_cache()).equal(before)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_nothing(threads):
    rows = torch.randn(20, SIZES.width, generator=torch.Generator().manual_seed(1))
    scores = []
    for count in (1, threads):
        step, _ = random_step(q4_1, threads=count)
        cache = step.new_cache()
        scores.append(torch.cat([step.read(part, cache) for part in rows.split(3)]))
    assert scores[0].equal(scores[1])


@pytest.mark.parametrize("kernels", KERNELS)
def test_texts_side_by_side_score_as_each_alone(kernels):
    """Bit for bit, also where there are more than go through at once, of different lengths."""
    step, _ = random_step(q4_1, kernels=kernels, threads=2)
    rows = torch.randn(11, 12, SIZES.width, generator=torch.Generator().manual_seed(1))
    alone, caches = [], []
    for i, text in enumerate(rows):
        cache = step.new_cache()
        step.read(text[: i + 1], cache)
        alone.append(step.read(text[i + 1 : i + 2], cache))
        cache.cut(i + 1)
        caches.append(cache)
    together = step.write(torch.stack([rows[i, i + 1] for i in range(11)]), caches)
    for cache in caches[:8]:
        cache.length -= 1
    few = [
        step.write(torch.stack([rows[i, i + 1] for i in some]), [caches[i] for i in some])
        for some in ([0, 1, 2, 3, 4], [5, 6, 7])
    ]
    assert torch.cat(few).equal(together[:8])
    assert together.equal(torch.cat(alone))
    assert [len(cache) for cache in caches] == [i + 2 for i in range(11)]


def test_what_is_forgotten_is_read_anew_to_the_same_scores():
    step, _ = random_step(q8_0)
    rows = torch.randn(10, SIZES.width, generator=torch.Generator().manual_seed(1))
    cache = step.new_cache()
    step.read(rows[:9], cache)
    first = step.read(rows[9:], cache)
    cache.cut(4)
    assert len(cache) == 4
    assert step.read(rows[4:], cache).equal(first)


def test_a_text_ends_with_the_context():
    step, _ = random_step(q4_1)
    cache = step.new_cache()
    step.read(torch.ones(SIZES.context, SIZES.width), cache)
    with pytest.raises(ValueError, match="at most context=70"):
        step.read(torch.ones(1, SIZES.width), cache)
    with pytest.raises(ValueError, match="at most context=70"):
        step.write(torch.ones(1, SIZES.width), [cache])
    for tokens, caches in ((0, []), (2, [step.new_cache()])):
        with pytest.raises(ValueError, match="each token needs a text"):
            step.write(torch.ones(tokens, SIZES.width), caches)
    with pytest.raises(ValueError, match="each token needs a text"):
        step.read(torch.ones(0, SIZES.width), step.new_cache())


@pytest.mark.parametrize("make", [q4_1, q8_0])
def test_products_of_tiles_are_those_of_bytes(make):
    """To the last bit, however many tokens are read at once."""
    rows = torch.randn(70, SIZES.width, generator=torch.Generator().manual_seed(1))
    wanted = None
    for kernels in ("bytes", "tiles"):
        step, _ = random_step(make, kernels=kernels, threads=2)
        for parts in ([70], [1, 4, 5, 8, 9, 16, 17, 10], [1] * 70):
            cache = step.new_cache()
            scores = [step.read(part, cache) for part in rows.split(parts)][-1]
            wanted = scores if wanted is None else wanted
            assert scores.equal(wanted)


def test_a_library_of_another_edition_is_none(monkeypatch):
    monkeypatch.setattr(native, "EDITION", 0)
    assert native.library.__wrapped__() is None
