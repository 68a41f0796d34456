"""A small Llama as a GGUF file, written by the library gguf."""

import gguf
import numpy as np
import torch

from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.tokenizer_json import LETTERS

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("t h", "th e", "Ġ the")
VOCABULARY = (*SPECIALS, *LETTERS.values(), "th", "the", "Ġthe")
CONFIG = LlamaConfig(
    vocab=len(VOCABULARY), context=256, depth=2, heads=4, groups=2, width=64, inner=96,
    epsilon=1e-5, tied=True,
)  # fmt: skip
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def pairs_of_halves(weight, heads):
    """The order of rows that llama.cpp wants (its LlamaModel.permute)."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def tiny_llama(seed=0):
    """A model with outputs that differ well from token to token."""
    torch.manual_seed(seed)
    model = Llama(CONFIG).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.3 if name == "embed.weight" else 0.15)
    return model


def write_gguf(path, model, kind="F32", *, config=CONFIG):
    """The model's file; `kind` is the format of its matrices, the table is Q8_0 beside Q4."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.depth)
    writer.add_feed_forward_length(config.inner)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_heads)
    writer.add_layer_norm_rms_eps(config.epsilon)
    writer.add_rope_dimension_count(config.size)
    writer.add_rope_freq_base(float(config.rope.rope_theta))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(list(VOCABULARY))
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(VOCABULARY) - len(SPECIALS)))
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.published().items():
        add(writer, name, tensor.float().numpy(), kind, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer, name, array, kind, config):
    top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem, leaf = name.rsplit(".", 1)
    if stem in top:
        theirs = top[stem]
    else:
        _, _, number, part = stem.split(".", 3)
        theirs = f"blk.{number}.{NAMES[part]}"
        if NAMES[part] in ("attn_q", "attn_k"):
            heads = config.heads if NAMES[part] == "attn_q" else config.key_heads
            array = pairs_of_halves(array, heads)
    if array.ndim == 1:
        writer.add_tensor(f"{theirs}.{leaf}", array.astype(np.float32))
        return
    quantised = kind.startswith("Q") and theirs not in ("token_embd", "output")
    code = gguf.GGMLQuantizationType[kind if quantised else "F32"]
    writer.add_tensor(f"{theirs}.{leaf}", gguf.quantize(array, code), raw_dtype=code)
