import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.theory.gpt_predictor import (
    GptPredictor,
    OnlineConfig,
    log_chances,
    online_gpt,
)
from orrery.systems.theory.lm_compressor import decode, encode

SMALL = {"depth": 1, "heads": 2, "width": 16}


def make(context=8, lanes=2):
    torch.manual_seed(0)
    gpt = Gpt(GptConfig(vocab=256, context=context, **SMALL))
    with torch.no_grad():
        for p in gpt.parameters():
            p.mul_(8)
    return GptPredictor(gpt, lanes)


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 5), st.booleans())
def test_decoding_gives_the_bytes_back(data, lanes, learns):
    def predictor():
        if not learns:
            return make(lanes=lanes)
        return online_gpt(OnlineConfig(lanes=lanes, context=4, **SMALL))

    assert decode(encode(data, predictor()), len(data), predictor()) == data


def test_the_cache_predicts_what_the_whole_window_predicts():
    predictor = make(context=8, lanes=3)
    predictor.gpt.double()
    rows = np.random.default_rng(0).integers(0, 256, size=(25, 3)).astype(np.uint8)
    for row in rows:
        frequencies = predictor.predict().astype(float)
        with torch.no_grad():
            chances = predictor.gpt(predictor.window).logits[:, -1].softmax(-1).numpy()
        np.testing.assert_allclose(frequencies / 2**24, chances, atol=2e-7)
        predictor.update(row)


@pytest.mark.parametrize("context", [2, 7, 8])
def test_a_text_shown_at_once_gets_the_same_chances(context):
    predictor = make(context, lanes=3)
    predictor.gpt.double()
    text = np.random.default_rng(0).integers(0, 256, size=(25, 3)).astype(np.uint8)
    at_once = log_chances(predictor.gpt, text).exp()
    for step, row in enumerate(text):
        frequencies = torch.from_numpy(predictor.predict().astype(float))
        torch.testing.assert_close(at_once[step], frequencies / 2**24, atol=2e-7, rtol=0)
        predictor.update(row)


def test_the_past_is_at_least_half_a_window_and_at_most_one():
    predictor, lengths = make(context=8), []
    for byte in range(30):
        predictor.predict()
        predictor.update(np.array([byte, 0], dtype=np.uint8))
        lengths.append(predictor.window.shape[1])
    assert lengths[:7] == [2, 3, 4, 5, 6, 7, 8]
    assert (min(lengths[7:]), max(lengths[7:])) == (4, 8)
    assert predictor.window[0, -4:].tolist() == [26, 27, 28, 29]


def test_it_learns_what_it_reads():
    """One text, over and over: bad before, good after."""
    text = np.frombuffer(b"to be or not to be, that is the question: " * 30, dtype=np.uint8)
    predictor = online_gpt(OnlineConfig(lanes=1, context=32, rate=0.02, warmup=5, **SMALL))
    chances = []
    for byte in text:
        frequencies = predictor.predict()[0]
        chances.append(frequencies[byte] / frequencies.sum())
        predictor.update(np.array([byte], dtype=np.uint8))
    assert -np.log2(chances[:30]).mean() > 7
    assert -np.log2(chances[-84:]).mean() < 1.5


def test_threads_and_the_global_generator_are_left_alone():
    torch.set_num_threads(2)
    try:
        torch.manual_seed(3)
        before = torch.random.get_rng_state()
        predictor = online_gpt(OnlineConfig(lanes=1, **SMALL))
        predictor.predict()
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.random.get_rng_state(), before)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("field", [{"lanes": 0}, {"context": 1}, {"rate": 0.0}, {"warmup": 0}])
def test_bad_configs_are_refused(field):
    ((name, value),) = field.items()
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        OnlineConfig(**field)


def test_a_network_that_does_not_read_bytes_is_refused():
    gpt = Gpt(GptConfig(vocab=96, context=8, **SMALL))
    with pytest.raises(ValueError, match="vocab=256"):
        GptPredictor(gpt, 1)
    with pytest.raises(ValueError, match="lanes must be at least 1, got 0"):
        GptPredictor(make().gpt, 0)
