import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from orrery.metrics.top_k import in_top_k, top_k_accuracy


@pytest.mark.parity
@settings(max_examples=60, deadline=None)
@given(st.integers(3, 12), st.integers(1, 40), st.integers(0, 10_000), st.data())
def test_it_equals_scikit_learns(classes, rows, seed, data):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=generator)
    k = data.draw(st.integers(1, classes - 1))
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
    assert top_k_accuracy(scores, labels, k) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.3, 0.1, 0.6]])
    labels = torch.tensor([1, 2, 1])
    assert in_top_k(scores, labels, 1).tolist() == [True, False, False]
    assert in_top_k(scores, labels, 2).tolist() == [True, True, False]
    assert top_k_accuracy(scores, labels, 2) == pytest.approx(2 / 3)
    assert top_k_accuracy(scores, labels, 3) == 1


def test_it_never_falls_with_k_and_forgets_the_order_of_the_classes():
    torch.manual_seed(0)
    scores, labels = torch.randn(50, 8), torch.randint(8, (50,))
    found = [top_k_accuracy(scores, labels, k) for k in range(1, 9)]
    assert found == sorted(found)
    order = torch.randperm(8)
    assert top_k_accuracy(scores[:, order], order.argsort()[labels], 3) == found[2]
    assert top_k_accuracy(scores.exp(), labels, 3) == found[2]  # only ranks count


def test_luck_is_not_skill():
    labels = torch.arange(4)
    assert top_k_accuracy(torch.zeros(4, 4), labels, 3) == 0
    assert top_k_accuracy(torch.full((4, 4), math.nan), labels, 3) == 0
    assert top_k_accuracy(torch.zeros(4, 4), labels, 4) == 1
    assert math.isnan(top_k_accuracy(torch.zeros(0, 4), labels[:0]))


@pytest.mark.parametrize("k", [0, 5])
def test_a_bad_k_is_refused(k):
    with pytest.raises(ValueError, match="k must be from 1 to the 4 classes"):
        top_k_accuracy(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long), k)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(ValueError, match="labels must be from 0 to 3"):
        top_k_accuracy(torch.zeros(1, 4), torch.tensor([label]))
