"""`orrery.inference.streaming` and `chat_template`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import OrreryError
from orrery.inference.chat_template import ChatTemplate
from orrery.inference.decoding import Decoding
from orrery.inference.generation import DecoderState, generate
from orrery.inference.streaming import Pace, TextPieces, stream
from tests.inference.tiny_gguf import TEMPLATE, tiny_llama


@given(text=st.text(max_size=40), cuts=st.lists(st.integers(0, 160), max_size=12))
def test_pieces_are_the_text_and_never_part_of_a_character(text, cuts):
    data, pieces = text.encode(), TextPieces()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    shown, start = "", 0
    for end in ends:
        piece = pieces.push(data[start:end])
        assert "\ufffd" not in piece or "\ufffd" in text
        shown, start = shown + piece, end
    assert shown + pieces.push(b"", last=True) == text


@given(text=st.text("abs", max_size=30), stop=st.text("abs", min_size=1, max_size=4))
def test_a_stop_string_ends_the_text_and_no_part_of_it_is_shown(text, stop):
    pieces, shown = TextPieces([stop]), ""
    for letter in text:
        shown += pieces.push(letter.encode())
        assert text.partition(stop)[0].startswith(shown)
    shown += pieces.push(b"", last=True)
    assert shown == text.partition(stop)[0]
    assert pieces.stopped == (stop in text)


def test_bytes_that_are_no_text_are_replaced_in_the_end():
    pieces = TextPieces()
    assert pieces.push(b"a\xe4\xb8") == "a"
    assert pieces.push(b"", last=True) == "\ufffd"
    with pytest.raises(ValueError, match="stops"):
        TextPieces([""])


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "temperature": 0.9, "top_k": 20}])
def test_a_stream_is_what_generate_writes(options):
    model, prompt = tiny_llama(), [5, 9, 70, 71]

    def step(fresh, state):
        return model(fresh, cache=state.cache).logits[:, -1]

    how = Decoding(max_new_tokens=25, **options)
    pace = Pace()
    found = stream(
        step, DecoderState(), prompt, how, generator=torch.Generator().manual_seed(3), pace=pace
    )
    want = generate(
        model, torch.tensor([prompt]), generator=torch.Generator().manual_seed(3),
        max_new_tokens=25, **options,
    )  # fmt: skip
    assert prompt + list(found) == want[0].tolist()
    assert (pace.prompt_tokens, pace.tokens) == (4, 25)
    assert min(pace.prefill_rate, pace.decode_rate) > 0


def test_the_token_that_ends_a_text_is_the_last():
    def step(fresh, state):
        return torch.eye(4)[(fresh[:, -1] + 1).clamp(max=3)]

    assert list(stream(step, DecoderState(), [0], Decoding(eos_token_id=2))) == [1, 2]
    with pytest.raises(ValueError, match="prompt"):
        list(stream(step, DecoderState(), [], Decoding()))


def test_a_template_renders_messages():
    text = ChatTemplate(TEMPLATE).render([{"role": "user", "content": "Hi"}])
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "source",
    [
        "{% for %}",
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.__class__.__mro__ }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ messages.append(1) }}",
        "{{ nothing + 1 }}",
    ],
)
def test_a_template_that_is_wrong_or_up_to_something_is_refused(source):
    with pytest.raises(OrreryError, match="template") as caught:
        print(ChatTemplate(source).render([{"role": "user", "content": "Hi"}]))
    assert "\n" not in str(caught.value)
