"""Llama and its tokeniser out of a GGUF file.

Source: the names of tensors and settings that llama.cpp writes (gguf-py's constants.py and
convert_hf_to_gguf.py): rows of the query and key maps lie pair beside pair, because llama.cpp
turns neighbouring numbers, where the published layout turns the two halves of a head.
Differs from the papers: what is read is architecture "llama" (Llama, Mistral without a window,
SmolLM) with rotary positions as trained, and a vocabulary of byte-level BPE; all else is refused.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.systems.language.bpe import GPT2, BpeVocabulary
from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.rope_scaling import Rope
from orrery.systems.language.tokenizer_json import bpe_vocabulary

SYSTEM = System(
    stem="gguf_llama", area="language", title="Llama out of a GGUF file", year=2023,
    papers=("GGUF version 3",), builds_on=("bpe", "llama", "rope_scaling", "tokenizer_json"),
)  # fmt: skip

SINGLE_DIGITS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
"""GPT-2's words once every digit has been cut off on its own."""
PATTERNS = {"gpt-2": GPT2, "smollm": SINGLE_DIGITS}
"""By llama.cpp's name of what is done before the merges."""
WHOLE = (3, 4)  # kinds of tokens that stand for themselves in a text: control, user-defined

TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""A tensor's name in the file, and in the published layout."""


def read_config(file: Gguf) -> LlamaConfig:
    """The sizes.

    Raises:
        OrreryError: a setting is missing, or asks for what this model does not do.
    """
    kind = file.setting("general.architecture", str)
    if kind != "llama":
        raise OrreryError(f"{file.path}: general.architecture must be 'llama', got {kind!r}")
    if file.setting("llama.rope.scaling.type", str, "none") != "none":
        raise OrreryError(f"{file.path}: llama.rope.scaling.type must be 'none'")
    vocab = file.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in file.tensors else 0
    heads = file.setting("llama.attention.head_count", int)
    try:
        config = LlamaConfig(
            vocab=vocab,
            context=file.setting("llama.context_length", int),
            depth=file.setting("llama.block_count", int),
            heads=heads,
            groups=file.setting("llama.attention.head_count_kv", int, heads),
            width=file.setting("llama.embedding_length", int),
            inner=file.setting("llama.feed_forward_length", int),
            epsilon=file.setting("llama.attention.layer_norm_rms_epsilon", float),
            tied="output.weight" not in file.tensors,
            rope=Rope(rope_theta=file.setting("llama.rope.freq_base", float, 10_000.0)),
        )
    except ValueError as error:
        raise OrreryError(f"{file.path} is refused: {error}") from None
    if len(file.tensors) < 9 * config.depth:
        raise OrreryError(f"{file.path} is refused: too few tensors for {config.depth} layers")
    if file.setting("llama.rope.dimension_count", int, config.size) != config.size:
        raise OrreryError(f"{file.path}: llama.rope.dimension_count must be {config.size}")
    return config


def read_llama(file: Gguf, dtype: torch.dtype = torch.float32) -> Llama:
    """The model with its weights worked out, in eval mode.

    Raises:
        OrreryError: a setting or a tensor is missing, left over or of another shape.
    """
    config = read_config(file)
    with torch.device("meta"):  # no time spent on numbers that the file replaces
        model = Llama(config)
    weights = {name: weight.to(dtype) for name, weight in published(file, config)}
    model.load_state_dict(model.ours(weights, file.path), assign=True)
    return model.eval()


def published(file: Gguf, config: LlamaConfig) -> Iterator[tuple[str, Tensor]]:
    """The tensors under their published names and in the published order of rows.

    Raises:
        OrreryError: a tensor is of no part that is known.
    """
    for name in file.tensors:
        stem, _, leaf = name.rpartition(".")
        if stem in TOP:
            yield f"{TOP[stem]}.{leaf}", file.tensor(name)
            continue
        _, number, part = (*stem.split(".", 2), "", "")[:3]
        if not number.isdecimal() or part not in LAYER:
            raise OrreryError(f"{file.path} is refused: {name} is no part of a Llama")
        weight = file.tensor(name)
        if part in ("attn_q", "attn_k"):
            heads = config.heads if part == "attn_q" else config.key_heads
            weight = halves_of_pairs(weight, heads, file)
        yield f"model.layers.{number}.{LAYER[part]}.{leaf}", weight


def halves_of_pairs(weight: Tensor, heads: int, file: Gguf) -> Tensor:
    """Rows of each head from pair beside pair to first halves, then second halves."""
    if weight.shape[0] % (2 * heads):
        raise OrreryError(f"{file.path} is refused: {weight.shape[0]} rows for {heads} heads")
    pairs = weight.unflatten(0, (heads, -1, 2))
    return pairs.transpose(1, 2).reshape(weight.shape)


def read_vocabulary(file: Gguf) -> BpeVocabulary:
    """The tokeniser.

    Raises:
        OrreryError: it is missing, damaged or of another kind.
    """
    kind = file.setting("tokenizer.ggml.model", str)
    before = file.setting("tokenizer.ggml.pre", str, "default")
    if kind != "gpt2" or before not in PATTERNS:
        known = ", ".join(PATTERNS)
        raise OrreryError(
            f"{file.path}: the tokeniser must be gpt2 with {known}, got {kind} with {before}"
        )
    tokens = file.setting("tokenizer.ggml.tokens", list)
    kinds = file.settings.get("tokenizer.ggml.token_type", [1] * len(tokens))
    if len(kinds) != len(tokens):
        raise OrreryError(f"{file.path}: tokenizer.ggml.token_type must be as long as the tokens")
    numbers = {token: number for number, token in enumerate(tokens)}
    specials = {token: number for number, token in enumerate(tokens) if int(kinds[number]) in WHOLE}
    try:
        return bpe_vocabulary(
            numbers, file.setting("tokenizer.ggml.merges", list), specials,
            pattern=PATTERNS[before], drops=True,
        )  # fmt: skip
    except (OrreryError, ValueError, TypeError) as error:
        raise OrreryError(f"{file.path}: the tokeniser is refused: {error}") from None
