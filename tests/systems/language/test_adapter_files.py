import json

import peft
import pytest
import torch
import transformers
from tests.systems.language.published import tokens
from tests.systems.language.tuned import gpt2, llama, tuned
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import orrery
from orrery.errors import OrreryError
from orrery.nn.low_rank import adapters, merge
from orrery.systems.language.llm_finetune import load_adapters, save_adapters


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21
@torch.no_grad()
@pytest.mark.parametrize(
    ("make", "targets"),
    [
        (llama, ()), (llama, ("q_proj", "v_proj")), (llama, ("k_proj", "up_proj", "o_proj")),
        (llama, ("layers.1.mlp.down_proj", "gate_proj")),
        (gpt2, ()), (gpt2, ("c_attn",)), (gpt2, ("mlp.c_proj", "c_fc")),
    ],
)  # fmt: skip
def test_peft_reads_what_we_write_and_we_read_what_peft_writes(
    make, targets, tmp_path, monkeypatch
):
    def forward(self, x):  # theirs go down to float32, too few digits for a comparison
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)
    model, ids = make(), tokens()
    model.save_pretrained(tmp_path / "base")
    before = model(ids).logits
    mine = tuned(model, targets=targets)
    save_adapters(mine, tmp_path / "mine")
    expected = mine(ids).logits
    assert (expected - before).abs().max() > 0.1

    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype="float64")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "mine").double()
    torch.testing.assert_close(theirs(input_ids=ids).logits, expected)
    theirs.save_pretrained(tmp_path / "theirs")
    again = orrery.load(tmp_path / "base")
    config = load_adapters(again, tmp_path / "theirs")
    assert (config.rank, config.alpha, config.dropout) == (2, 3.0, 0.0)
    torch.testing.assert_close(again(ids).logits, expected)
    merge(again)
    torch.testing.assert_close(again(ids).logits, expected)
    torch.testing.assert_close(theirs.merge_and_unload()(input_ids=ids).logits, expected)


CHANGES = {
    "use_dora": (True, "use_dora is not supported as True"),
    "use_rslora": (True, "use_rslora is not supported"),
    "new_of_2030": ("on", "new_of_2030 is not supported"),
    "rank_pattern": ({"q_proj": 3}, "rank_pattern is not supported"),
    "modules_to_save": (["lm_head"], "modules_to_save is not supported"),
    "init_lora_weights": ("pissa", "init_lora_weights is not supported as 'pissa'"),
    "peft_type": ("IA3", "peft_type is not supported as 'IA3'"),
    "bias": ("all", "bias is not supported"),
    "target_modules": ("all-linear", "target_modules must be a list"),
    "r": (10**12, "no tensor of adapter_model.safetensors has r=1000000000000 rows"),
    "lora_alpha": ("much", "could not convert"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_that_are_not_done_are_refused(name, tmp_path):
    save_adapters(tuned(llama()), tmp_path)
    path = tmp_path / "adapter_config.json"
    value, said = CHANGES[name]
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(OrreryError, match=f"adapter_config.json: {said}"):
        load_adapters(llama(), tmp_path)


def test_damage_is_told_in_one_line_and_the_model_left_alone(tmp_path):
    save_adapters(tuned(llama(), targets=("q_proj",)), tmp_path)
    path, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    good = json.loads(config.read_text())
    for targets, said in [
        (["q_proj", "v_proj"], "got None"),
        (["layers.0.self_attn.q_proj"], "no"),
    ]:
        config.write_text(json.dumps(good | {"target_modules": targets}))
        model = llama()
        with pytest.raises(OrreryError, match=said):
            load_adapters(model, tmp_path)
        assert not list(adapters(model))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(OrreryError, match="is damaged") as caught:
        load_adapters(llama(), tmp_path)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(OrreryError, match="cannot read"):
        load_adapters(llama(), tmp_path)
    with pytest.raises(OrreryError, match="adapters must be there"):
        save_adapters(llama(), tmp_path)
