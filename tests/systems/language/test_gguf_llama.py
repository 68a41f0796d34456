"""`orrery.systems.language.gguf_llama`: weights and tokeniser out of a file."""

import gguf
import pytest
import torch
from tests.inference.tiny_gguf import MERGES, SPECIALS, VOCABULARY, tiny_llama, write_gguf

from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.systems.language.bpe import Bpe
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.gguf_llama import SINGLE_DIGITS, read_llama, read_vocabulary
from orrery.systems.language.tokenizer_json import LETTERS, bpe_vocabulary, bytes_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXTS = (
    "the 12345 apples  7", "  the\n\n the", "it's 中文 the\t3.14", "<|im_start|>the<|im_end|>", "",
    "½ ٣٤ the  ", "a\x00b",
)  # fmt: skip


def test_the_weights_are_those_that_went_in(tmp_path):
    model = tiny_llama()
    found = read_llama(Gguf(write_gguf(tmp_path / "m.gguf", model)))
    assert not found.training
    tokens = torch.randint(len(VOCABULARY), (2, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found(tokens).logits, model(tokens).logits)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["F32", "Q4_0", "Q8_0"])
def test_logits_are_those_of_transformers_from_the_same_file(kind, tmp_path):
    from transformers import AutoModelForCausalLM

    path = write_gguf(tmp_path / "m.gguf", tiny_llama(1), kind)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf").eval()
    tokens = torch.randint(len(VOCABULARY), (3, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = theirs(tokens).logits
        found = read_llama(Gguf(path))(tokens).logits
    assert want.std() > 0.3
    torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parity
def test_the_tokeniser_is_the_librarys(tmp_path):
    """Digits one by one, then GPT-2's words: what published SmolLM tokenisers say."""
    whole = {token: number for number, token in enumerate(VOCABULARY)}
    theirs = Tokenizer(models.BPE(whole, [tuple(m.split()) for m in MERGES]))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(list(SPECIALS))
    vocabulary = read_vocabulary(Gguf(write_gguf(tmp_path / "m.gguf", tiny_llama())))
    assert vocabulary.pattern == SINGLE_DIGITS
    for text in TEXTS:
        want = theirs.encode(text, add_special_tokens=False).ids
        assert FastBpe(vocabulary).encode(text) == want
        assert Bpe(vocabulary).encode(text) == want


def test_bytes_without_a_token_are_left_out():
    letters = {token: i for i, token in enumerate(LETTERS.values())}
    del letters[LETTERS[0]]
    for tokenizer in (Bpe, FastBpe):
        found = tokenizer(bpe_vocabulary(letters, [], {}, drops=True))
        assert found.decode(found.encode("a\x00b")) == "ab"
    with pytest.raises(ValueError, match="every byte"):
        bpe_vocabulary(letters, [], {})
    assert bytes_of(LETTERS[65]) == b"A"


def other(tmp_path, **settings):
    """A file with nothing but settings."""
    writer = gguf.GGUFWriter(tmp_path / "o.gguf", settings.pop("arch", "llama"))
    for name, value in settings.items():
        writer.add_string(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Gguf(tmp_path / "o.gguf")


def test_another_kind_of_model_or_tokeniser_is_refused_in_one_line(tmp_path):
    with pytest.raises(OrreryError, match=r"general\.architecture must be 'llama', got 'gpt2'"):
        read_llama(other(tmp_path, arch="gpt2"))
    with pytest.raises(OrreryError, match="head_count is missing"):
        read_llama(other(tmp_path))
    with pytest.raises(OrreryError, match="tokeniser must be gpt2"):
        read_vocabulary(other(tmp_path, **{"tokenizer.ggml.model": "llama"}))
