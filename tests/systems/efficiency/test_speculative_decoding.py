import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.efficiency.speculative_decoding import (
    LookUp,
    ModelDraft,
    Speculation,
    SpeculativeConfig,
    TextReader,
    accept,
    acceptance_rate,
    residual,
    speed_up,
    tokens_per_pass,
)
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.llama import Llama, LlamaConfig
from tests.systems.language.published import spread

VOCAB = 5


def table(seed, sharpness=1.5, rows=VOCAB):
    noise = torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed))
    return (sharpness * noise).double().softmax(dim=-1)


def make(kind=Gpt, seed=0, depth=2):
    sizes = {"vocab": VOCAB, "context": 64, "depth": depth, "heads": 2, "width": 8}
    config = GptConfig(**sizes) if kind is Gpt else LlamaConfig(**sizes, groups=1, inner=12)
    model = spread(kind(config).double(), 0.7)
    generator = torch.Generator().manual_seed(seed)
    model.embed.weight.data.copy_(torch.randn(VOCAB, 8, generator=generator))
    return model


def reader(model):
    return TextReader(lambda tokens, cache: model(tokens, cache=cache).logits[0], KeyValueCache())


def table_reader(chances):
    def model(tokens, cache):
        cache.extend(0, tokens[..., None], tokens[..., None])
        return chances[tokens[0]].log()

    return TextReader(model, KeyValueCache())


def drafted(q, first, ahead, generator):
    tokens, laws = [first], []
    for _ in range(ahead):
        laws.append(q[tokens[-1]])
        tokens.append(torch.multinomial(laws[-1], 1, generator=generator)[:, 0])
    return torch.stack(tokens[1:], dim=1), torch.stack(laws, dim=1)


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_the_first_three_tokens_of_20000_texts_follow_the_models_law(ahead):
    p, q, generator = table(0, 0.5), table(1, 0.5), torch.Generator().manual_seed(ahead)
    count, texts = 20_000, torch.zeros(20_000, 3, dtype=torch.long)
    length, rows = torch.zeros(count, dtype=torch.long), torch.arange(count)
    for _ in range(3):  # each gives a token or more
        last = texts[rows, length - 1] * (length > 0)
        guesses, offered = drafted(q, last, ahead, generator)
        wanted = p[torch.cat([last[:, None], guesses], dim=1)]
        out = accept(guesses, offered, wanted, generator)
        for place in range(ahead + 1):
            fits = (place <= out.kept) & (length + place < 3)
            texts[rows[fits], (length + place)[fits]] = out.tokens[fits, place]
        length = (length + out.kept + 1).clamp(max=3)
    seen = (texts * torch.tensor([VOCAB**2, VOCAB, 1])).sum(dim=1).bincount(minlength=125)
    expected = torch.einsum("i,ij,jk->ijk", p[0], p, p).flatten() * count
    assert chisquare(seen, expected).pvalue > 0.01
    assert expected.min() > 5


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), ahead=st.integers(1, 3))
def test_summed_over_all_guesses_a_round_is_the_models_law(seed, ahead):
    """Without a draw: of the first token, and of the pair, where the next round goes on by p."""
    p, q, pairs = table(seed), table(seed + 5000), torch.zeros(VOCAB, VOCAB, dtype=torch.double)

    def ends(start, law):  # a round that ends here, with a token of this law after what was kept
        if not start:
            pairs.add_(law[:, None] * p)
        elif len(start) == 1:
            pairs[start[0]].add_(law)
        else:
            pairs[start[0], start[1]].add_(law.sum())

    for guess in itertools.product(range(VOCAB), repeat=ahead):
        path = [0, *guess]
        reached = float(q[path[:-1], path[1:]].prod())
        for place, (last, token) in enumerate(itertools.pairwise(path)):
            stays = min(1.0, float(p[last, token] / q[last, token]))
            rest = residual(p[last : last + 1], q[last : last + 1])[0]
            ends(guess[:place], reached * (1 - stays) * rest)
            reached *= stays
        ends(guess, reached * p[path[-1]])
    torch.testing.assert_close(pairs.sum(dim=1), p[0])
    torch.testing.assert_close(pairs, p[0][:, None] * p)


def test_guesses_stay_as_often_as_the_overlap_of_both_laws_says():
    p, q, generator = table(3, rows=1), table(4, rows=1), torch.Generator().manual_seed(0)
    guesses = torch.multinomial(q.expand(20_000, -1), 1, generator=generator)
    out = accept(guesses, q.expand(20_000, 1, -1), p.expand(20_000, 2, -1), generator)
    rate = float(acceptance_rate(p, q))
    assert rate == pytest.approx(1 - float((p - q).abs().sum()) / 2)
    assert float(out.kept.double().mean()) == pytest.approx(rate, abs=4 * 0.5 / 20_000**0.5)


@settings(max_examples=8, deadline=None)
@given(kind=st.sampled_from([Gpt, Llama]), seed=st.integers(0, 50), ahead=st.integers(1, 6),
       look=st.booleans(), count=st.integers(1, 12))  # fmt: skip
def test_greedy_it_writes_token_for_token_what_the_model_writes(kind, seed, ahead, look, count):
    model, slow = make(kind, seed), [1, 2]
    with torch.no_grad():
        for _ in range(count):
            slow.append(int(model(torch.tensor([slow])).logits[0, -1].argmax()))
    draft = LookUp() if look else ModelDraft(reader(make(seed=seed + 1, depth=1)))
    how = SpeculativeConfig(ahead=ahead, temperature=0)
    found = Speculation(reader(model), draft, how).write([1, 2], count, torch.Generator())
    assert found.tokens == slow
    assert found.passes + found.kept == count


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draft_that_is_the_model_is_always_right(temperature):
    model, how = make(), SpeculativeConfig(ahead=4, temperature=temperature, top_p=0.9)
    speculation = Speculation(reader(model), ModelDraft(reader(model)), how)
    found = speculation.write([0], 25, torch.Generator().manual_seed(1))
    assert found.kept == found.judged == found.guessed == 20
    assert found.passes == 5


@pytest.mark.parametrize("kind", ["look-up", "never likely"])
def test_with_a_useless_draft_the_text_is_still_the_models(kind):
    p, generator = table(6), torch.Generator().manual_seed(2)
    wrong = torch.zeros(VOCAB, VOCAB, dtype=torch.double)
    wrong.scatter_(1, p.argmin(dim=-1, keepdim=True), 1.0)
    pairs = torch.zeros(VOCAB, VOCAB)
    for _ in range(6):
        draft = LookUp(1) if kind == "look-up" else ModelDraft(table_reader(wrong))
        text = (
            Speculation(table_reader(p), draft, SpeculativeConfig(ahead=2))
            .write([0], 50, generator)
            .tokens
        )
        for one, other in itertools.pairwise(text):
            pairs[one, other] += 1
    often = pairs.sum(dim=1) > 30
    expected = (pairs.sum(dim=1, keepdim=True) * p)[often]
    statistic = float(((pairs[often] - expected) ** 2 / expected).sum())
    assert statistic < 4 * VOCAB * int(often.sum())


def test_temperature_and_nucleus_change_both_laws_before_guesses_are_judged():
    how = SpeculativeConfig(temperature=0.5, top_k=3, top_p=0.95)
    chances = how.chances(torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]]).double())
    torch.testing.assert_close(chances[:, :2], torch.tensor([[4.0, 2.0]]).double().softmax(dim=-1))
    assert not chances[:, 2:].any()


def test_a_text_ends_at_its_end_and_look_up_copies_what_stood_before():
    seen = [1, 2, 3, 4, 0, 1, 2]
    assert LookUp().propose(seen, 3, SpeculativeConfig(), torch.Generator()) == ([3, 4, 0], None)
    assert LookUp().propose([1, 2, 3], 3, SpeculativeConfig(), torch.Generator()) == ([], None)
    cycle = torch.eye(VOCAB).roll(1, dims=1).double()  # 0 1 2 3 4 0 ...
    found = Speculation(table_reader(cycle), LookUp()).write([0], 30, torch.Generator())
    assert found.tokens == [i % 5 for i in range(31)]
    again = Speculation(table_reader(cycle), LookUp()).write([0], 30, torch.Generator(), end=4)
    assert again.tokens == [0, 1, 2, 3, 4]
    assert found.passes == 5 + 25 // 5  # five to see the cycle, then five tokens a pass


def test_the_formulas_of_what_is_gained():
    assert tokens_per_pass(0.8, 4) == pytest.approx((1 - 0.8**5) / (1 - 0.8))
    assert (tokens_per_pass(1.0, 4), tokens_per_pass(0.0, 4)) == (5, 1)
    assert speed_up(0.8, 4, 0.1) == pytest.approx((1 - 0.8**5) / (0.2 * 1.4))


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"ahead": 0}, "ahead must be"), ({"top_k": 0}, "top_k must be"),
     ({"temperature": -1.0}, "temperature must be"), ({"top_p": 0.0}, "top_p must be")],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SpeculativeConfig(**bad)
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        LookUp(0)
    with pytest.raises(ValueError, match="prompt must have a token"):
        Speculation(table_reader(table(0)), LookUp()).write([], 3, torch.Generator())
