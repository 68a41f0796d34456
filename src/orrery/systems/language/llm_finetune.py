"""Fine-tuning a decoder: all of its weights, or LoRA's few, and what it unlearns meanwhile.

Works for every model with a published layout whose blocks are made of linear layers. Adapters are
kept as PEFT keeps them, adapter_config.json and adapter_model.safetensors, and read from there.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685,
section 4.2 (which maps get adapters); Biderman et al. 2024, "LoRA Learns Less and Forgets Less",
arXiv:2405.09673, section 3 (loss on the old domain as the measure of forgetting); PEFT's
documentation of its checkpoint format.
Differs from the papers: adapters go by default on every map of the blocks, as Biderman et al.
recommend, where Hu et al. choose queries and values.

Symbols: none beyond those of `orrery.nn.low_rank`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Generator, Tensor, nn

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.files import read_json, write_atomically, write_json
from orrery.inference.causal_lm import CausalLm, next_token_loss
from orrery.nn.low_rank import LowRank, adapter_parameters, adapters, put_on, take_off

SYSTEM = System(
    stem="llm_finetune", area="language", title="Fine-tuning, full and of low rank", year=2021,
    papers=("arXiv:2106.09685", "arXiv:2405.09673"), builds_on=("low_rank",),
    realises=("llm-finetune",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Marks = Int[Tensor, "b t"]  # 1 at the tokens of an answer, 0 at prompts and padding

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BEFORE = "base_model.model."  # PEFT wraps the model twice
INERT = frozenset({
    "auto_mapping", "base_model_name_or_path", "bias", "ephemeral_gpu_offload", "fan_in_fan_out",
    "inference_mode", "init_lora_weights", "lora_alpha", "lora_dropout", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules",
    "task_type",
})  # fmt: skip
"""Settings of PEFT that are read here, or that change nothing of what the model computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """What learns, and of which rank its change is."""

    method: Literal["full", "low_rank"] = "low_rank"
    rank: int = 8
    alpha: float = 16.0
    """Changes are multiplied by alpha / rank."""
    dropout: float = 0.0
    """Share of an adapter's inputs left out in training."""
    targets: tuple[str, ...] = ()
    """Published names, or their ends, of the maps that get adapters, as q_proj; all those of the
    blocks if not given."""

    def __post_init__(self) -> None:
        if self.method not in ("full", "low_rank"):
            raise ValueError(f"method must be full or low_rank, got {self.method!r}")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def prepare(
    model: CausalLm, config: FinetuneConfig, generator: Generator | None = None
) -> list[nn.Parameter]:
    """Make a model ready to be fine-tuned; the parameters that learn.

    Args:
        model: changed in place.
        config: says how.
        generator: draws the adapters' first maps.

    Raises:
        ValueError: a target is no map of the model's blocks.
    """
    if config.method == "full":
        return list(model.requires_grad_().parameters())
    put_on(
        model, _layers(model, config.targets), rank=config.rank, alpha=config.alpha,
        dropout=config.dropout, generator=generator,
    )  # fmt: skip
    return adapter_parameters(model)


def maps(model: CausalLm) -> dict[str, tuple[str, range]]:
    """Each linear map of the blocks by its published name: our layer, and its rows there."""
    found: dict[str, tuple[str, range]] = {}
    for module_name, module in model.named_modules():
        name = module_name.removesuffix(".base")
        if not isinstance(module, nn.Linear) or "." not in name:  # the head is in no block
            continue
        weight = f"{name}.weight"
        theirs = next(names for row in model.layout() if (names := row.names(weight)))
        end = 0
        for one, part in zip(theirs, model.parts(weight, module.weight, len(theirs)), strict=True):
            found[one.removesuffix(".weight")] = name, range(end, end + len(part))
            end += len(part)
    return found


def _layers(model: CausalLm, targets: tuple[str, ...]) -> dict[str, list[range]]:
    """Our layers and the rows in them that the targets name."""
    known = maps(model)
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in known):
            ends = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
            raise ValueError(f"targets must be maps of the blocks ({ends}), got {target!r}")
    chosen: dict[str, list[range]] = {}
    for name, (layer, rows) in known.items():
        if not targets or any(f".{name}".endswith(f".{target}") for target in targets):
            chosen.setdefault(layer, []).append(rows)
    return chosen


def learning_share(model: nn.Module) -> float:
    """Parameters that learn, over those that the model has without adapters."""
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    extra = sum(p.numel() for p in adapter_parameters(model))
    return learning / (sum(p.numel() for p in model.parameters()) - extra)


def answer_loss(model: CausalLm, input_ids: Tokens, answers: Marks) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats of the answers' tokens, given all that stands before each.

    Args:
        model: scores next tokens.
        input_ids: prompts with their answers, padded at the right.
        answers: marks of the tokens to learn; a first token has nothing before it, and is not.

    Raises:
        ValueError: no token is marked.
    """
    marked = answers[:, 1:].bool()
    if not marked.any():
        raise ValueError("answers must mark a token after the first, got none")
    logits = model(input_ids[:, :-1]).logits
    return next_token_loss(logits[marked][None], input_ids[:, 1:][marked][None])


@torch.no_grad()
def held_out_loss(model: CausalLm, tokens: Tokens, targets: Tokens, *, batch: int = 8) -> float:
    """Mean cross-entropy of a domain's windows in nats, without dropout; to be had before and
    after: what it grows by on the old domain is what was forgotten.

    Args:
        model: in the same mode after as before.
        tokens: windows of text.
        targets: the same, one token on.
        batch: windows read at once.
    """
    was_training = model.training
    model.eval()
    total = 0.0
    for x, y in zip(tokens.split(batch), targets.split(batch), strict=True):
        total += float(model.loss(x, y)) * len(x)
    model.train(was_training)
    return total / len(tokens)


def save_adapters(model: CausalLm, folder: str | Path) -> None:
    """Write a model's adapters as PEFT does.

    Raises:
        OrreryError: there are none, they differ in rank, or the folder cannot be written.
    """
    found, folder = dict(adapters(model)), Path(folder)
    settings = {(one.a.shape[1], one.scale, one.dropout) for one in found.values()}
    if len(settings) != 1:
        raise OrreryError("adapters must be there and alike in rank, scale and dropout")
    ((rank, scale, dropout),) = settings
    tensors = {
        f"{BEFORE}{name}.lora_{letter}.weight": factor.detach().contiguous().clone()
        for name, pair in _pairs(model, found).items()
        for letter, factor in zip("AB", pair, strict=True)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OrreryError(f"cannot make {folder}: {error.strerror}") from error
    write_atomically(folder / WEIGHTS, tensor_bytes(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None,
        "r": rank, "lora_alpha": scale * rank, "lora_dropout": dropout,
        "target_modules": sorted(_pairs(model, found)), "bias": "none", "inference_mode": True,
        "fan_in_fan_out": any(row.transposed for row in model.layout()),
    })  # fmt: skip


def load_adapters(model: CausalLm, folder: str | Path) -> FinetuneConfig:
    """Put on a model the adapters that PEFT, or `save_adapters`, has kept in a folder.

    Raises:
        OrreryError: a file is missing or damaged, a setting is not supported, or the tensors are
            not those that the settings ask for.
    """
    folder = Path(folder)
    values, path = read_json(folder / CONFIG), folder / WEIGHTS
    try:
        tensors = read_tensors(path.read_bytes())
        config = read_config(values)
        if not any(config.rank in tensor.shape for tensor in tensors.values()):
            raise ValueError(f"no tensor of {WEIGHTS} has r={config.rank} rows")
        prepare(model, config)
        _fill(model, tensors, path)
    except OSError as error:
        raise OrreryError(f"cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise OrreryError(f"{path} is damaged: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OrreryError(f"{folder / CONFIG}: {error}") from error
    return config


def _fill(model: CausalLm, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy every tensor to its place; if one does not fit, leave the model without adapters."""
    wrong = None
    for name, pair in _pairs(model, dict(adapters(model))).items():
        for letter, factor in zip("AB", pair, strict=True):
            full = f"{BEFORE}{name}.lora_{letter}.weight"
            read = tensors.pop(full, None)
            if read is not None and read.shape == factor.shape:
                factor.data.copy_(read)
            else:
                shape = None if read is None else tuple(read.shape)
                wrong = wrong or f"{full} must be {tuple(factor.shape)}, got {shape}"
    if tensors:
        wrong = wrong or f"{min(tensors)} belongs to no adapter"
    if wrong:
        take_off(model)
        raise OrreryError(f"{path}: {wrong}")


def read_config(values: Mapping[str, Any]) -> FinetuneConfig:
    """Our config for PEFT's settings.

    Raises:
        ValueError: a setting asks for what is not done here.
    """
    allowed = {"peft_type": ("LORA",), "bias": ("none", None),
               "init_lora_weights": (True, False, "gaussian", None)}  # fmt: skip
    for name, value in values.items():
        on = value not in (None, False) and value != {} and value != []
        if (name not in INERT and on) or (name in allowed and value not in allowed[name]):
            raise ValueError(f"{name} is not supported as {value!r}")
    targets = values["target_modules"]
    if isinstance(targets, str) or not targets:
        raise ValueError(f"target_modules must be a list of names, got {targets!r}")
    return FinetuneConfig(
        rank=values["r"], alpha=float(values["lora_alpha"]),
        dropout=float(values.get("lora_dropout") or 0), targets=tuple(targets),
    )  # fmt: skip


def _pairs(model: CausalLm, found: Mapping[str, LowRank]) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each adapted map by its published name."""
    return {
        name: (found[layer].a[found[layer].parts.index(rows)],
               found[layer].b[found[layer].parts.index(rows)])
        for name, (layer, rows) in maps(model).items()
        if layer in found and rows in found[layer].parts
    }  # fmt: skip
