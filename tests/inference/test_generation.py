import warnings

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.inference.decoding import Decoding, most_likely
from orrery.inference.generation import SourceState, generate, write
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.gpt2 import Gpt2

VOCAB, END, PAD = 11, 3, 5


def pair(folder, seed):
    """A random model of theirs, peaked enough to end texts now and then, and ours of it."""
    torch.manual_seed(seed)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=40, n_embd=12, n_layer=2, n_head=2,
        bos_token_id=None, eos_token_id=None,
    )).double().eval()  # fmt: skip
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn_like(p) * 0.5 + (p.ndim == 1))
    theirs.save_pretrained(folder)
    return theirs, Gpt2.from_pretrained(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    made = [pair(tmp_path_factory.mktemp("gpt2"), seed) for seed in range(4)]
    return made.__getitem__


def prompts(seed, batch, length):
    ids = torch.randint(6, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    for row in range(1, batch):  # padded in front
        short = row % length
        ids[row, :short], mask[row, :short] = PAD, 0
    return ids, mask


def their_generate(theirs, ids, mask, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return theirs.generate(input_ids=ids, attention_mask=mask, **options)


@pytest.mark.parity
@settings(max_examples=40, deadline=None)
@given(
    which=st.integers(0, 3), seed=st.integers(0, 99), batch=st.integers(1, 3),
    length=st.integers(1, 5), beams=st.integers(1, 4),
    penalty=st.sampled_from([1.0, 0.0, 2.0, -1.0]), early=st.sampled_from([True, False, "never"]),
    ends=st.sampled_from([None, END, [END, 8]]), pad=st.sampled_from([PAD, None, 0]),
    most=st.integers(1, 10), least=st.integers(0, 6), forced=st.sampled_from([None, END]),
)  # fmt: skip
def test_it_writes_what_transformers_writes(
    pairs, which, seed, batch, length, beams, penalty, early, ends, pad, most, least, forced
):
    theirs, ours = pairs(which)
    ids, mask = prompts(seed, batch, length)
    options = {"max_new_tokens": most, "min_new_tokens": min(least, most), "num_beams": beams,
               "eos_token_id": ends, "forced_eos_token_id": forced,
               "num_return_sequences": 1 if forced else min(beams, 1 + seed % 2),
               "repetition_penalty": (1.0, 1.5, 0.8)[seed % 3]}  # fmt: skip
    if beams > 1:
        options |= {"length_penalty": penalty, "early_stopping": early}
    if ends is not None:
        options["pad_token_id"] = pad
    expected = their_generate(theirs, ids, mask, **options)
    assert torch.equal(ours.generate(ids, mask, **options), expected)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(6))
def test_it_draws_what_transformers_draws(pairs, seed):
    theirs, ours = pairs(seed % 4)
    ids, mask = prompts(seed, 3, 4)
    options = {"max_new_tokens": 9, "do_sample": True,
               "eos_token_id": END, "pad_token_id": PAD, "temperature": 0.5 + seed / 4,
               "top_k": 1 + 2 * seed, "top_p": 0.4 + 0.1 * seed,
               "min_p": (None, 0.1, 0.5)[seed % 3], "repetition_penalty": 1 + seed / 5}  # fmt: skip
    torch.manual_seed(seed)
    expected = their_generate(theirs, ids, mask, **options)
    generator = torch.Generator().manual_seed(seed)
    assert torch.equal(ours.generate(ids, mask, generator=generator, **options), expected)


def test_a_row_is_written_as_if_alone(pairs):
    ours = pairs(0)[1]
    ids, mask = prompts(0, 3, 5)
    for beams in (1, 3):
        options = {"max_new_tokens": 6, "num_beams": beams}
        together = ours.generate(ids, mask, **options)
        for row in range(3):
            short = int((mask[row] == 0).sum())
            alone = ours.generate(ids[row : row + 1, short:], **options)
            assert torch.equal(together[row, short:], alone[0])


class Translator:
    """A stand-in for an encoder-decoder: its next token depends on its source and its place."""

    def step(self, fresh, state):
        assert len(fresh) == len(state.source) == len(state.seen)
        keys = torch.nn.functional.one_hot(fresh, VOCAB).double()[:, None]
        state.own.extend(0, keys, keys)
        return state.source[:, 0] + state.own.keys[0].sum(dim=(1, 2)) @ self.table


def test_an_encoder_decoder_writes_by_the_same_loop():
    model = Translator()
    generator = torch.Generator().manual_seed(0)
    model.table = torch.randn(VOCAB, VOCAB, generator=generator, dtype=torch.float64)
    source = 2 * torch.randn(2, 1, VOCAB, generator=generator, dtype=torch.float64)
    start, how = torch.full((2, 1), 0), Decoding(max_new_tokens=5, num_beams=3, eos_token_id=END)

    def run(rows):
        seen = torch.ones(len(rows), 1, dtype=torch.long)
        return write(model.step, SourceState(source=source[rows], seen=seen), start[rows], how)

    both, each = run([0, 1]), [run([0]), run([1])]
    for row, alone in enumerate(each):
        assert torch.equal(both[row, : alone.shape[1]], alone[0])
    assert not torch.equal(both[0], both[1])


def test_forced_tokens_are_written(pairs):
    ours, ids = pairs(1)[1], torch.tensor([[7]])
    for beams in (1, 2):
        text = ours.generate(
            ids, max_new_tokens=4, num_beams=beams, forced_bos_token_id=2, forced_eos_token_id=9
        )
        assert text[0, 1] == 2
        assert text[0, -1] == 9


def test_a_given_cache_is_filled(pairs):
    cache = KeyValueCache()
    generate(pairs(0)[1], torch.tensor([[7, 8]]), cache=cache, max_new_tokens=3)
    assert len(cache) == 4  # the last token is written, not read


@given(top_p=st.floats(0.05, 1), seed=st.integers(0, 50))
def test_the_nucleus_is_the_smallest_that_is_likely_enough(top_p, seed):
    scores = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kept = most_likely(scores, top_p=top_p).isfinite()[0]
    chances = scores.softmax(dim=-1)[0]
    inside = chances[kept]
    assert inside.min() >= chances[~kept].max() if (~kept).any() else top_p > 0.9
    assert inside.sum() >= top_p - 1e-12
    assert inside.sum() - inside.min() < top_p


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"num_beams": 0}, "num_beams must be at least 1, got 0"),
        ({"min_new_tokens": 21}, r"min_new_tokens must be in \[0, max_new_tokens=20\], got 21"),
        ({"num_return_sequences": 2}, "num_return_sequences must be at most num_beams=1, got 2"),
        ({"early_stopping": "now"}, "early_stopping must be True, False or 'never', got 'now'"),
        ({"num_beams": 2, "do_sample": True}, "num_beams must be 1 with do_sample, got 2"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"min_p": 1.1}, r"min_p must be in \[0, 1\], got 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0, got 0.0"),
    ],
)
def test_bad_choices_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**bad)
