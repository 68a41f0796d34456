"""The published MiniLM, read and run by our own code, against the library that published it."""

import pytest
import torch

import orrery
import tokenizers
from orrery.data import minilm
from orrery.data.fetch import is_present
from orrery.systems.language.bert import Bert
from orrery.systems.language.sentence_embedding import SentenceEncoder
from orrery.systems.language.tokenizer_json import read_tokenizer
from orrery.systems.language.wordpiece import WordPiece

SENTENCES = [
    "", "Hello, world!", "A man is eating food.", "A man is eating a piece of bread.",
    "The girl is carrying a baby.", "CAPITALS and MiXeD", "naïve café, Ångström, Çelik, İstanbul",
    "e\u0301 and \u00e9 are one", "我爱北京天安门", "日本語のテキスト", "한국어 문장",
    "Привет, мир", "العربية", "עברית", "emoji 😀 and 👩‍👩‍👧", "x" * 101, "y" * 100,
    "tabs\tand\nlines\r\n", "price: $3.50 (50% off) #1 a_b @you", "don't can't I'm",
    "[CLS] inside [SEP] and [MASK]",
    "\u200bzero width\ufeff", "ﬁ ligature ½ ²", "ΑΣ ΟΔΥΣΣΕΥΣ", "Straße ẞ", "—em–dash… “quotes”",
    "the quick brown fox jumps over the lazy dog. " * 30, "antidisestablishmentarianism " * 130,
    "long " * 600, "Iñtërnâtiônàlizætiøn " * 40, "ก่อน हिन्दी தமிழ்", "1234567890 3.14159",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder():
    if not is_present(minilm.CARD):
        pytest.skip("84 MB to fetch: tested where they are here (orrery data get minilm)")
    return minilm.folder()


@pytest.fixture(scope="module")
def model(folder):
    return SentenceEncoder.from_pretrained(folder)


def test_the_folder_is_what_the_card_says_and_orrery_loads_it(folder):
    model = orrery.load(folder)
    assert isinstance(model, Bert)
    numbers = sum(weight.numel() for weight in model.parameters())
    assert numbers + model.config.context == minilm.CARD.counts["numbers"]  # and position_ids
    names = (folder / "vocab.txt").read_text("utf8").splitlines()
    assert list(read_tokenizer(folder / "tokenizer.json").pieces) == names


def test_our_tokens_are_those_of_the_library(folder):
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    ours = WordPiece(read_tokenizer(folder / "tokenizer.json"))
    for text in SENTENCES:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids, text


@pytest.mark.slow
def test_our_embeddings_are_those_of_the_library(folder, model, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    body = modules.Transformer(str(folder), max_seq_length=model.reader.longest)
    parts = [body, modules.Pooling(384, "mean"), modules.Normalize()]
    expected = SentenceTransformer(modules=parts, device="cpu").encode(
        SENTENCES, convert_to_tensor=True, show_progress_bar=False
    )
    assert model.reader.longest == 256
    torch.testing.assert_close(model.encode(SENTENCES), expected, rtol=0, atol=1e-5)


def test_what_means_the_same_lies_near(model):
    eating, bread, baby = model.encode(SENTENCES[2:5])
    assert eating @ bread > 0.7
    assert eating @ baby < 0.3
