import itertools

import pytest
import torch

from orrery.inference.decoding import Decoding
from orrery.systems.language.attention_bahdanau import BahdanauAttention
from orrery.systems.language.attention_luong import LuongAttention
from orrery.systems.language.seq2seq import Seq2Seq, Seq2SeqConfig
from orrery.systems.language.translator import (
    END,
    PADDING,
    START,
    UNKNOWN,
    Rewriting,
    Translator,
    Vocabulary,
    batch_of,
)

SENTENCES = [tuple(text.split()) for text in ("a b c", "b a", "c c a b", "a")]


def make(kind=Seq2Seq, vocab=7):
    torch.manual_seed(0)
    model = kind(Seq2SeqConfig(source_vocab=vocab, target_vocab=vocab, width=8))
    for p in model.parameters():
        p.data.mul_(2)
    return model


def test_words_are_numbered_by_how_common_they_are():
    vocabulary = Vocabulary([["b", "a", "b"], ["c", "a", "b"]], size=6)
    assert vocabulary.words[4:] == ("b", "a")
    assert vocabulary.encode(["a", "c", "b"]) == [5, UNKNOWN, 4]
    assert vocabulary.decode([START, 5, UNKNOWN, END, 4]) == ["a", "<unknown>"]
    with pytest.raises(ValueError, match="size must be above 4, got 4"):
        Vocabulary([], size=4)


def test_a_batch_is_shifted_ended_and_padded():
    batch = batch_of([([4, 5], [6]), ([5, 4], [4, 5, 6])])
    assert batch.source.tolist() == [[4, 5], [5, 4]]
    assert batch.after.tolist() == [[6, END, PADDING, PADDING], [4, 5, 6, END]]
    assert batch.target.tolist() == [[START, 6, PADDING, PADDING], [START, 4, 5, 6]]


@pytest.mark.parametrize("kind", [Seq2Seq, BahdanauAttention, LuongAttention])
def test_a_wide_beam_finds_the_best_of_all_translations(kind):
    """Every text of up to two words is scored: the best mean log-probability wins."""
    model, vocabulary = make(kind), Vocabulary(SENTENCES, size=7)
    translator = Translator(vocabulary, vocabulary, model)
    how = Decoding(max_new_tokens=2, num_beams=30, eos_token_id=END, pad_token_id=PADDING)
    for sentence, found in zip(SENTENCES, translator.translate(SENTENCES, how), strict=True):
        source, best = torch.tensor([vocabulary.encode(sentence)]), {}
        for text in itertools.product([END, 3, 4, 5, 6], repeat=2):
            end = text.index(END) + 1 if END in text else 2
            target = torch.tensor([[START, *text[: end - 1]]])
            logits = model.write(model.read(source), target)[0][0]
            logits[:, [PADDING, START]] = -torch.inf
            chances = logits.log_softmax(-1).gather(1, torch.tensor(text[:end])[:, None])
            best[text[:end]] = float(chances.detach().mean())
        assert found == vocabulary.decode(max(best, key=best.__getitem__))


def test_a_model_without_a_state_translates_the_same():
    model, vocabulary = make(), Vocabulary(SENTENCES, size=7)
    whole = Rewriting(lambda source, target: model(source, target))
    ours, theirs = (Translator(vocabulary, vocabulary, m).translate(SENTENCES)
                    for m in (model, whole))  # fmt: skip
    assert ours == theirs


def test_every_sentence_is_translated_as_if_alone_and_in_its_order():
    vocabulary = Vocabulary(SENTENCES, size=7)
    translator = Translator(vocabulary, vocabulary, make())
    alone = [translator.translate([sentence])[0] for sentence in SENTENCES]
    assert translator.translate(SENTENCES) == alone
    with pytest.raises(ValueError, match="number 1 has none"):
        translator.translate([("a",), ()])


def test_turning_sentences_round_is_learnt_from_nothing_to_a_high_bleu():
    words, generator = "abcdef", torch.Generator().manual_seed(0)
    sentences = [[words[i] for i in torch.randint(6, (5,), generator=generator)] for _ in range(48)]
    vocabulary = Vocabulary(sentences, size=10)
    torch.manual_seed(0)
    model = BahdanauAttention(Seq2SeqConfig(source_vocab=10, target_vocab=10, width=32))
    translator, turned = Translator(vocabulary, vocabulary, model), [s[::-1] for s in sentences]
    assert translator.bleu(sentences, turned).score < 20
    numbered = [
        (vocabulary.encode(s), vocabulary.encode(t)) for s, t in zip(sentences, turned, strict=True)
    ]
    batch = batch_of(numbered)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(70):
        loss = model.loss(batch.source, batch.target, batch.after)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert translator.bleu(sentences, turned).score > 80
