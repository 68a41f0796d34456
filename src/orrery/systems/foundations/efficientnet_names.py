"""Names of EfficientNet's tensors in two other public layouts, and transformers' settings.

`transformers` (Keras's order: blocks in one list, the parts of a block in groups) and the `_blocks`
layout of the first PyTorch ports, in which Lite0's weights are published. Both follow from our own
names by one walk over the blocks.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import Tensor

from orrery.nn.pretrained import refuse_unsupported
from orrery.systems.foundations.efficientnet import (
    EfficientNet,
    EfficientNetConfig,
    EfficientStage,
    InvertedBlock,
)

Layout = Literal["transformers", "blocks"]
PARTS: dict[Layout, dict[str, str]] = {
    "transformers": {
        "stem.0": "efficientnet.embeddings.convolution",
        "stem.1": "efficientnet.embeddings.batchnorm",
        "block": "efficientnet.encoder.blocks.{}.",
        "expand.0": "expansion.expand_conv",
        "expand.1": "expansion.expand_bn",
        "depthwise.0": "depthwise_conv.depthwise_conv",
        "depthwise.1": "depthwise_conv.depthwise_norm",
        "gates.fc1": "squeeze_excite.reduce",
        "gates.fc2": "squeeze_excite.expand",
        "project.0": "projection.project_conv",
        "project.1": "projection.project_bn",
        "head.0": "efficientnet.encoder.top_conv",
        "head.1": "efficientnet.encoder.top_bn",
        "classifier": "classifier",
    },
    "blocks": {
        "stem.0": "_conv_stem",
        "stem.1": "_bn0",
        "block": "_blocks.{}.",
        "expand.0": "_expand_conv",
        "expand.1": "_bn0",
        "depthwise.0": "_depthwise_conv",
        "depthwise.1": "_bn1",
        "gates.fc1": "_se_reduce",
        "gates.fc2": "_se_expand",
        "project.0": "_project_conv",
        "project.1": "_bn2",
        "head.0": "_conv_head",
        "head.1": "_bn1",
        "classifier": "_fc",
    },
}


def names(model: EfficientNet, layout: Layout) -> dict[str, str]:
    """Our name of every tensor -> its name in the other layout."""
    modules = dict(_modules(model, PARTS[layout]))
    found = {}
    for name in model.state_dict():
        module, _, leaf = name.rpartition(".")
        found[name] = f"{modules[module]}.{leaf}"
    return found


def from_layout(
    model: EfficientNet, weights: Mapping[str, Tensor], layout: Layout
) -> dict[str, Tensor]:
    """Weights of another layout under our names, to be loaded into `model`.

    Raises:
        ValueError: one that the model needs is missing, or one is left over.
    """
    pairs = names(model, layout)
    missing = sorted(set(pairs.values()) - set(weights))
    extra = sorted(set(weights) - set(pairs.values()))
    if missing or extra:
        what = f"lack {missing[0]}" if missing else f"hold {extra[0]}, which this model has not"
        raise ValueError(f"the weights {what}")
    return {ours: weights[theirs] for ours, theirs in pairs.items()}


def to_layout(model: EfficientNet, layout: Layout) -> dict[str, Tensor]:
    """The model's tensors under the names of another layout."""
    tensors = model.state_dict()
    return {theirs: tensors[ours] for ours, theirs in names(model, layout).items()}


def _modules(model: EfficientNet, parts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Our name and theirs of every module that holds tensors."""
    last = len(model.features) - 1
    for entry in "01":
        yield f"features.0.{entry}", parts[f"stem.{entry}"]
        yield f"features.{last}.{entry}", parts[f"head.{entry}"]
    yield "classifier.1", parts["classifier"]
    number = 0
    for stage in range(1, last):
        for index, block in enumerate(model.features[stage].children()):
            assert isinstance(block, InvertedBlock)
            for place, part in enumerate(_parts(block)):
                for entry in ("fc1", "fc2") if part == "gates" else "01":
                    theirs = parts["block"].format(number) + parts[f"{part}.{entry}"]
                    yield f"features.{stage}.{index}.block.{place}.{entry}", theirs
            number += 1


def _parts(block: InvertedBlock) -> tuple[str, ...]:
    """What the entries of a block are."""
    expand = ("expand",) if block.expands else ()
    gates = ("gates",) if block.gated else ()
    return (*expand, "depthwise", *gates, "project")


def read_transformers_config(values: Mapping[str, Any]) -> EfficientNetConfig:
    """Our config for the settings of transformers' EfficientNet.

    Raises:
        ValueError: a setting asks for what this model does not do.
    """
    refuse_unsupported(
        values,
        {
            "model_type": ("efficientnet",),
            "pooling_type": ("mean",),
            "depth_divisor": (8,),
            "hidden_act": ("swish", "silu", "relu", "relu6", "gelu"),
        },
    )
    rows = zip(
        values["expand_ratios"], values["kernel_sizes"], values["strides"],
        values["out_channels"], values["num_block_repeats"], strict=True,
    )  # fmt: skip
    activation = values["hidden_act"]
    config = EfficientNetConfig(
        stages=tuple(
            EfficientStage(expand=e, kernel=k, stride=s, outputs=o, blocks=n)
            for e, k, s, o, n in rows
        ),
        width=float(values["width_coefficient"]),
        depth=float(values["depth_coefficient"]),
        squeeze=float(values["squeeze_expansion_ratio"]),
        activation="silu" if activation == "swish" else activation,
        padding="shifted",
        centred_blocks=tuple(values["depthwise_padding"]),
        epsilon=float(values["batch_norm_eps"]),
        momentum=float(values["batch_norm_momentum"]),
        dropout=float(values["dropout_rate"]),
        drop_path=float(values["drop_connect_rate"]),
        first_skip=False,
        channels=values["num_channels"],
        classes=len(values["id2label"]) if "id2label" in values else 1000,
    )
    chain = (config.stem, *(stage.outputs for stage in config.stages))
    for entered, given in zip(values["in_channels"], chain, strict=False):
        if config.widened(entered) != config.widened(given):
            raise ValueError(
                f"in_channels must follow from out_channels, got {entered} for {given}"
            )
    if values["hidden_dim"] != config.ends()[1]:
        raise ValueError(f"hidden_dim must be {config.ends()[1]}, got {values['hidden_dim']}")
    return config
