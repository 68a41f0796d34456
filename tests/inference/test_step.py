"""`orrery.inference.step`: packing, and the products of the compiled step."""

import pytest
import torch

from orrery.errors import OrreryError
from orrery.inference import step as native
from orrery.inference.step import BLOCK_BYTES, Matrix, PlaceCache, Rows, Step, StepLayer, StepSizes

pytestmark = pytest.mark.skipif(native.library() is None, reason="built without a C compiler")
SIZES = StepSizes(
    width=32, heads=2, key_heads=1, head_size=16, inner=64, vocab=40, context=70, epsilon=1e-5
)


def q4_1(rows, groups, generator):
    """Random groups as a file stores them, and their numbers."""
    q = torch.randint(16, (rows * groups, 32), generator=generator, dtype=torch.uint8)
    two = (torch.randn(rows * groups, 2, generator=generator) * 0.05).half()
    packed = q[:, :16] | q[:, 16:] << 4
    stored = torch.cat([two.view(torch.uint8), packed], dim=1)
    return stored, (two[:, :1].float() * q + two[:, 1:].float()).reshape(rows, -1)


def q8_0(rows, groups, generator):
    q = torch.randint(-127, 128, (rows * groups, 32), generator=generator, dtype=torch.int8)
    scale = (torch.rand(rows * groups, 1, generator=generator) * 0.01).half()
    stored = torch.cat([scale.view(torch.uint8), q.view(torch.uint8)], dim=1)
    return stored, (scale.float() * q).reshape(rows, -1)


def floats(rows, groups, generator):
    numbers = torch.randn(rows, 32 * groups, generator=generator) * 0.2
    return numbers, numbers


def in_order(stored, rows):
    return Rows(stored=stored, order=torch.arange(rows))


def random_step(make, *, threads=1, fast=True, seed=0):
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
    step = Step(s, [layer], gains[2], head, turns, threads=threads, fast=fast)
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


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("make", [q4_1, q8_0, floats])
def test_a_text_scores_as_the_same_weights_in_double_precision(make, fast):
    """Also beyond the first room of the cache."""
    step, wanted = random_step(make, fast=fast)
    rows = torch.randn(40, SIZES.width, generator=torch.Generator().manual_seed(1))
    cache = step.new_cache()
    read = [step.read(part, cache) for part in rows.split([1, 20, 1, 1, 17])]
    found, want = torch.cat(read), wanted(rows)[[0, 20, 21, 22, 39]]
    assert want.std() > 0.3
    # Keys and values are in half precision; floats were rounded to eight bits.
    assert (found - want).norm() / want.norm() < (0.03 if make is floats else 0.001)
    assert len(cache) == 40
    assert cache.keys.shape[2] == 64  # the room it began with, doubled


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("make", [q4_1, q8_0])
def test_a_product_has_thirteen_bits(make, fast):
    generator = torch.Generator().manual_seed(5)
    stored, weight = make(40, 1, generator)
    head, gain = Matrix([in_order(stored, 40)], 32), torch.ones(32)
    turns = (torch.ones(70, 8), torch.zeros(70, 8))
    step = Step(SIZES, [], gain, head, turns, threads=2, fast=fast)
    x = torch.randn(32, generator=generator)
    want = weight @ (x / (x.square().mean() + SIZES.epsilon).sqrt())
    found = step.read(x[None], PlaceCache(1, 1, 16))[0]
    assert (found - want).norm() / want.norm() < 2**-13


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_nothing(threads):
    rows = torch.randn(20, SIZES.width, generator=torch.Generator().manual_seed(1))
    scores = []
    for count in (1, threads):
        step, _ = random_step(q4_1, threads=count)
        cache = step.new_cache()
        scores.append(torch.cat([step.read(part, cache) for part in rows.split(3)]))
    assert scores[0].equal(scores[1])


@pytest.mark.parametrize("fast", [False, True])
def test_texts_side_by_side_score_as_each_alone(fast):
    """Bit for bit, also where there are more than go through at once, of different lengths."""
    step, _ = random_step(q4_1, fast=fast, threads=2)
    rows = torch.randn(11, 12, SIZES.width, generator=torch.Generator().manual_seed(1))
    alone, caches = [], []
    for i, text in enumerate(rows):
        cache = step.new_cache()
        step.read(text[: i + 1], cache, score=False)
        alone.append(step.read(text[i + 1 : i + 2], cache))
        cache.cut(i + 1)
        caches.append(cache)
    together = step.write(torch.stack([rows[i, i + 1] for i in range(11)]), caches)
    assert together.equal(torch.cat(alone))
    assert [len(cache) for cache in caches] == [i + 2 for i in range(11)]


def test_what_is_forgotten_is_read_anew_to_the_same_scores():
    step, _ = random_step(q8_0)
    rows = torch.randn(10, SIZES.width, generator=torch.Generator().manual_seed(1))
    cache = step.new_cache()
    assert step.read(rows[:9], cache, score=False).shape == (0, SIZES.vocab)
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


@pytest.mark.parametrize("make", [q4_1, q8_0])
def test_rows_stand_where_they_are_wanted(make):
    """Each group's scale is found where the layout says, for any order and when taking turns."""
    generator = torch.Generator().manual_seed(3)
    (one, _), (two, _) = make(32, 2, generator), make(32, 2, generator)
    order = torch.randperm(32, generator=generator)
    maps = [Rows(stored=one, order=order), Rows(stored=two, order=order)]
    bits = 4 if make is q4_1 else 8
    for in_turn, places in ((False, (0, 1, 2, 3)), (True, (0, 2, 1, 3))):
        packed = Matrix(maps, 64, in_turn=in_turn).packed.view(4, 2, BLOCK_BYTES[bits])
        scales = packed[:, :, 256 if bits == 4 else 512 :][..., :32].contiguous().view(torch.half)
        for block, place in enumerate(places):
            stored = (one, two)[block // 2].view(32, 2, -1)[order[block % 2 * 16 :][:16], :, :2]
            assert scales[place].T.equal(stored.contiguous().view(torch.half)[..., 0])


def test_sizes_that_do_not_fit_are_refused():
    generator = torch.Generator().manual_seed(3)
    stored, _ = q4_1(24, 1, generator)
    even, _ = q4_1(16, 1, generator)
    other, _ = q8_0(16, 1, generator)
    for maps, columns in (
        ([in_order(stored, 24), in_order(even, 16)], 32),  # 24 rows are no whole blocks
        ([in_order(even, 16), in_order(other, 16)], 32),
        ([in_order(torch.ones(16, 40), 16)], 40),
    ):
        with pytest.raises(OrreryError, match="maps must be stored alike"):
            Matrix(maps, columns)
    assert Matrix([in_order(even, 16), in_order(stored, 24)], 32).rows == 40
