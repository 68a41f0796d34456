"""`orrery.inference.answers`: batches of answers, and the examination."""

import math

import pytest
import torch

from orrery.inference.answers import Answered, batch_of, examine, padded
from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.llm_finetune import answer_loss

CONFIG = LlamaConfig(vocab=23, context=32, depth=1, heads=2, groups=2, width=16, inner=24)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Llama(CONFIG)
    for weight in made.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.5)
    return made.train()


def rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def some(least, most):
        length = int(torch.randint(least, most + 1, (), generator=generator))
        return tuple(torch.randint(CONFIG.vocab, (length,), generator=generator).tolist())

    return [Answered(some(1, 9), some(1, 4)) for _ in range(count)]


def test_answers_are_marked_and_nothing_else():
    tokens, marks = padded([Answered((5, 6), (7,)), Answered((1,), (2, 3, 4))])
    assert tokens.tolist() == [[5, 6, 7, 0], [1, 2, 3, 4]]
    assert marks.tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]


def test_a_batch_has_no_row_twice_and_is_a_function_of_the_generator():
    some = [Answered((i,), (i,)) for i in range(6)]
    draw = lambda seed: batch_of(some, 4, torch.Generator().manual_seed(seed))[0]  # noqa: E731
    assert len(set(draw(0)[:, 0].tolist())) == 4
    assert draw(0).equal(draw(0))
    assert not all(draw(0).equal(draw(seed)) for seed in range(1, 5))
    assert len(batch_of(some, 9, torch.Generator())[0]) == 6


def test_the_loss_is_that_of_the_answers_one_by_one(model):
    some = rows(11)
    found = examine(model, some, size=4)
    nats = sum(answer_loss(model, *padded([row])).item() * len(row.answer) for row in some)
    assert math.isclose(found.loss, nats / sum(len(row.answer) for row in some), rel_tol=1e-5)
    assert model.training


def test_exact_are_the_answers_that_greedy_writing_gives(model):
    """Half of them are what the model writes, half are not."""
    some = []
    for i, row in enumerate(rows(12, seed=3)):
        written = model.generate(torch.tensor([row.prompt]), max_new_tokens=len(row.answer))[
            0, len(row.prompt) :
        ].tolist()
        if i % 2:
            written[-1] = (written[-1] + 1) % CONFIG.vocab
        some.append(Answered(row.prompt, tuple(written)))
    assert examine(model, some, size=5).exact == 0.5
