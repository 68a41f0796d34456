import json

import pytest
import torch
from torch import nn

from orrery.train import precision
from orrery.train.precision import Precision


def found(**changes):
    return Precision(**{
        "widths": (64, 128, 256, 384), "onednn_speed_up": (0.8, 0.9, 1.6, 2.0),
        "onednn_error": 2.5e-7, "mkl_error": 2.5e-7, "bfloat16_speed_up": 4.0, **changes,
    })  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "cache_folder", lambda name: tmp_path)
    precision.measured.cache_clear()
    yield tmp_path
    precision.measured.cache_clear()
    torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_a_switch_that_pays_on_wide_layers_is_set_for_wide_models_only(cache, monkeypatch):
    monkeypatch.setattr(precision, "measure", found)
    assert found().onednn_from == 256
    assert precision.use_fast_products(nn.Sequential(nn.Linear(384, 1536), nn.Linear(1536, 384)))
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    for small in (nn.Linear(128, 512), nn.Linear(4096, 64), nn.ReLU()):
        assert not precision.use_fast_products(small)
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


def test_a_switch_that_rounds_is_refused_however_fast():
    # what a processor with bfloat16 matrix units would do: see the real rounding below
    assert found(onednn_error=2.9e-3, onednn_speed_up=(9.0,) * 4).onednn_from is None


def test_rounding_to_bfloat16_is_far_above_what_is_taken_for_the_same_error():
    x, w, _ = precision._layer(128)
    rounded = (x.bfloat16().float() @ w.bfloat16().float().T).double()
    true = x.double() @ w.double().T
    error = float((rounded - true).norm() / true.norm())
    assert error > 1_000 * precision._error(128, onednn=False)


@pytest.mark.parametrize(
    ("gains", "narrowest"),
    [((2.0, 2.0, 2.0, 2.0), 64), ((2.0, 2.0, 2.0, 1.0), None), ((2.0, 0.9, 1.5, 1.2), 256),
     ((1.0, 1.0, 1.0, 1.09), None)],
)  # fmt: skip
def test_it_is_set_from_the_width_after_which_it_always_pays(gains, narrowest):
    assert found(onednn_speed_up=gains).onednn_from == narrowest


def test_bfloat16_is_used_only_where_the_processor_has_it():
    assert found().bfloat16
    assert not found(bfloat16_speed_up=0.1).bfloat16


def test_a_measurement_says_nothing_absurd_and_leaves_the_switch_alone(monkeypatch):
    monkeypatch.setattr(precision, "WIDTHS", (16, 32))
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    made = precision.measure()
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"
    assert made.widths == (16, 32)
    assert all(0.01 < gain < 100 for gain in (*made.onednn_speed_up, made.bfloat16_speed_up))
    assert 1e-8 < made.mkl_error < 1e-5


def test_it_is_measured_once_and_the_first_answer_stands(cache, monkeypatch):
    calls = []
    monkeypatch.setattr(precision, "measure", lambda: calls.append(1) or found())
    first = precision.measured()
    precision.measured.cache_clear()  # as in another process
    assert precision.measured() == first == found()
    assert len(calls) == 1
    (file,) = cache.iterdir()
    precision._keep(file, found(bfloat16_speed_up=1.0))
    assert precision._read(file) == found()
    assert precision.describe()["onednn_from"] == 256


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 0}', '{"format": 1}'])
def test_a_damaged_answer_is_measured_again(cache, monkeypatch, damage):
    monkeypatch.setattr(precision, "measure", found)
    precision.measured()
    (file,) = cache.iterdir()
    file.write_text(damage)
    precision.measured.cache_clear()
    assert precision.measured() == found()
    assert json.loads(file.read_text())["format"] == precision.FORMAT


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path):
    precision._keep(tmp_path / "missing" / "answer.json", found())
    assert not list(tmp_path.iterdir())
