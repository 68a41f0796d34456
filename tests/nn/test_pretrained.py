import json

import pytest
import torch
from safetensors.torch import save_file

import orrery
from orrery.errors import OrreryError
from orrery.nn.pretrained import Row
from orrery.systems.language.gpt2 import Gpt2, Gpt2Config

CONFIG = Gpt2Config(vocab=7, context=4, depth=1, heads=1, width=4)


@pytest.fixture
def folder(tmp_path):
    Gpt2(CONFIG).save_pretrained(tmp_path / "kept")
    return tmp_path / "kept"


def change(folder, weights=None, **values):
    """The folder with other weights or settings."""
    if weights is not None:
        save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_what_is_saved_comes_back_to_the_last_bit_in_its_number_format(tmp_path):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model = Gpt2(CONFIG).to(dtype)
        model.save_pretrained(tmp_path)
        again = orrery.load(tmp_path)
        assert not again.training
        for name, weight in model.state_dict().items():
            assert again.state_dict()[name].dtype == dtype
            assert torch.equal(again.state_dict()[name], weight)


def test_a_row_matches_modules_tensors_and_numbers():
    row = Row("blocks.{}.qkv", ("h.{}.q", "h.{}.k"))
    assert row.names("blocks.12.qkv.weight") == ("h.12.q.weight", "h.12.k.weight")
    assert row.names("blocks.1.qkv") == ("h.1.q", "h.1.k")
    assert row.names("blocks.x.qkv.weight") == row.names("blocks.1.qkvw.weight") == ()


def test_shards_and_files_without_the_prefix_are_read(folder):
    before = orrery.load(folder).state_dict()
    weights = {n.removeprefix("transformer."): w for n, w in Gpt2.from_pretrained(folder)
               .published().items()}  # fmt: skip
    names = sorted(weights)
    places = {n: f"part-{i % 2}.safetensors" for i, n in enumerate(names)}
    for file in set(places.values()):
        save_file({n: weights[n] for n in names if places[n] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    after = orrery.load(folder).state_dict()
    assert all(torch.equal(after[n], before[n]) for n in before)
    bad = {"weight_map": {"x": "../part-0.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(bad))
    with pytest.raises(OrreryError, match="is not a file name"):
        orrery.load(folder)


def test_weights_that_do_not_fit_are_refused_by_name(folder):
    weights = Gpt2.from_pretrained(folder).published()
    first = "transformer.h.0.ln_1.weight"
    change(folder, {n: w for n, w in weights.items() if n != first})
    with pytest.raises(OrreryError, match=f"the weights lack {first}"):
        orrery.load(folder)
    change(folder, {**weights, "transformer.h.7.ln_1.weight": torch.ones(4)})
    with pytest.raises(OrreryError, match=r"hold transformer.h.7.ln_1.weight, which this model"):
        orrery.load(folder)
    change(folder, {**weights, first: torch.ones(5)})
    with pytest.raises(OrreryError, match=rf"{first} has the shape \(5,\), not \(4,\)"):
        orrery.load(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_embd": 0}, "width must be at least 1, got 0"),
        ({"add_cross_attention": True}, "add_cross_attention must be one of false, got true"),
        ({"architectures": ["Gpt9"]}, "architectures must be one of .*GPT2LMHeadModel.*'Gpt9'"),
        ({"architectures": None}, "lacks architectures"),
        ({"n_layer": "two"}, "config.json"),
    ],
)
def test_settings_that_are_not_supported_are_refused_in_one_line(folder, values, message):
    change(folder, **values)
    with pytest.raises(OrreryError, match=message) as caught:
        orrery.load(folder)
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_files_are_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for length in range(0, len(whole), 97):
        (folder / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(OrreryError, match="is damaged"):
            orrery.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OrreryError, match="cannot read"):
        orrery.load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(OrreryError, match="lacks architectures"):
        orrery.load(folder)
    with pytest.raises(OrreryError, match="cannot read"):
        orrery.load(folder / "nowhere")
