import pytest
import torch
import torch.nn.functional as F

from orrery.systems.language.gpt1 import Gpt1, Gpt1Config
from orrery.systems.language.gpt1_classifier import Gpt1Classifier

CONFIG = Gpt1Config(vocab=8, context=6, depth=1, heads=2, width=16, dropout=0.0)


def make(auxiliary=0.5, seed=0):
    torch.manual_seed(seed)
    return Gpt1Classifier(Gpt1(CONFIG), 3, auxiliary=auxiliary).double().eval()


def texts(batch=4):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(8, (batch, 6), generator=generator)
    return ids, torch.randint(3, (batch,), generator=generator)


def test_the_loss_is_that_of_the_class_and_lambda_times_that_of_the_text():
    model, (ids, labels) = make(0.7), texts()
    text = F.cross_entropy(model.model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    expected = F.cross_entropy(model(ids).logits, labels) + 0.7 * text
    torch.testing.assert_close(model.loss(ids, labels), expected)
    torch.testing.assert_close(make(0.0).loss(ids, labels), expected - 0.7 * text)


def test_the_last_token_decides():
    model, (ids, _) = make(), texts()
    states = model.model.states(ids)
    torch.testing.assert_close(model(ids).logits, model.classify(states[:, -1]))


@pytest.mark.parametrize("auxiliary", [0.0, 0.5])
def test_padding_behind_a_text_changes_nothing(auxiliary):
    model, (ids, labels) = make(auxiliary), texts(1)
    seen = torch.ones_like(ids)
    seen[:, 4:] = 0
    torch.testing.assert_close(model(ids, seen).logits, model(ids[:, :4]).logits)
    torch.testing.assert_close(model.loss(ids, labels, seen), model.loss(ids[:, :4], labels))


def sentence_batch(step, size=32):
    """Repeated pairs: a text is a b a b a b, and its class is whether a < b < 4, b < a, or else."""
    generator = torch.Generator().manual_seed(step)
    first, second = torch.randint(8, (2, size), generator=generator)
    ids = torch.stack([first, second] * 3, dim=1)
    return ids, torch.where(first < second, torch.where(second < 4, 0, 2), 1)


def train(model, loss, steps, rate):
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()


def test_it_learns_classes_and_still_models_the_texts():
    torch.manual_seed(0)
    model = Gpt1Classifier(Gpt1(CONFIG), 3, auxiliary=0.5)
    ids, labels = sentence_batch(1000, 200)

    def right():
        return float((model(ids).logits.argmax(dim=1) == labels).float().mean())

    before = right(), model.model.loss(ids[:, :-1], ids[:, 1:]).item()
    train(model, lambda step: model.loss(*sentence_batch(step)), 100, 0.01)
    after = right(), model.model.loss(ids[:, :-1], ids[:, 1:]).item()
    assert before[0] < 0.7
    assert before[1] > 2
    assert after[0] > 0.85
    assert after[1] < 1.7


def topics(step, size):
    """Texts of three topics, each with twenty words of its own."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.arange(size) % 3
    return torch.randint(20, (size, 6), generator=generator) * 3 + labels[:, None], labels


@pytest.mark.parametrize("seed", [0, 1])
def test_pre_training_helps_where_labels_are_few(seed):
    few, (ids, labels), right = topics(7, 6), topics(8, 300), []
    for steps in (0, 120):
        torch.manual_seed(seed)
        config = Gpt1Config(vocab=60, context=6, depth=1, heads=2, width=16, dropout=0.0)
        model = Gpt1Classifier(Gpt1(config), 3, auxiliary=0.5)
        batches = [topics(100 + step, 48)[0] for step in range(steps)]
        text = model.model
        train(text, lambda i: text.loss(batches[i][:, :-1], batches[i][:, 1:]), steps, 0.01)  # noqa: B023
        train(model, lambda _: model.loss(*few), 25, 0.01)  # noqa: B023
        right.append(float((model(ids).logits.argmax(dim=1) == labels).float().mean()))
    assert right[0] < 0.8
    assert right[1] > right[0] + 0.1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"classes": 2, "auxiliary": -1.0}, "auxiliary must be at least 0, got -1.0"),
    ],
)
def test_bad_arguments_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Gpt1Classifier(Gpt1(CONFIG), **bad)
