"""SmolLM2 with the weights of its blocks rounded in many ways: what each costs on held-out text.

GPTQ and AWQ look at the inputs that the layers get on other text, in the model as it is in its
file. That text is short, so GPTQ is damped ten times as much as its authors do, and takes columns
in the order of their inputs: both matter where a layer has about as many inputs as samples.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from orrery.data import king_james, smollm2
from orrery.data.batches import sample_windows
from orrery.inference.gguf import Gguf
from orrery.lab import Lab, Measured
from orrery.systems.efficiency.awq import awq
from orrery.systems.efficiency.gptq import GptqConfig, InverseHessian, gptq, hessian, prepare
from orrery.systems.efficiency.quantisation import BitGrid, block_layers, rounded
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.gguf_llama import read_llama, read_vocabulary
from orrery.systems.language.gpt import Gpt
from orrery.systems.language.llama import Llama

GROUP = 64
"""Twice the file's own groups of 32: a grid that the file's weights do not lie on."""
BITS = (4, 3, 2)
METHODS = ("nearest", "gptq", "awq")
GRIDS = {
    **{f"{bits}": BitGrid(bits=bits, group=GROUP) for bits in (8, *BITS)},
    "ternary": BitGrid(kind="ternary", group=GROUP), "binary": BitGrid(kind="binary", group=GROUP),
}  # fmt: skip
GPTQ = GptqConfig(dampening=0.1, block=32, act_order=True)
ALPHAS = (0.0, 0.2, 0.3, 0.4, 0.5)

Rule = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """How much text is read."""

    windows: int
    context: int
    calibration: int
    """Windows for GPTQ, twice as long; AWQ takes the first of them."""
    characters: int
    """Of each text, from a place drawn by chance, that windows are drawn from."""
    blocks: int
    """Of the model that are used."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the methods know of each layer's inputs."""

    prepared: dict[str, InverseHessian] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)


def rounded_llm(amounts: Amounts, lab: Lab, *, unrounded: bool) -> Measured:
    """Loss of every way of rounding, in nats a token, and what it takes to store.

    Args:
        amounts: of text.
        lab: draws it.
        unrounded: leave all weights as they are, under the names of those that are rounded.
    """
    file = Gguf(smollm2.load())
    model, tokenizer = read_llama(file), FastBpe(read_vocabulary(file))
    model.blocks = model.blocks[: amounts.blocks]
    training, held_out = (
        excerpt(text, amounts.characters, tokenizer, lab, part)
        for part, text in zip(("training", "held out"), king_james.split(), strict=True)
    )
    scored = sample_windows(held_out, amounts.context, amounts.windows, lab.rng("windows"))
    weights = {name: layer.weight.detach() for name, layer in block_layers(model).items()}
    measured = {"whole": loss(model, scored), "unigram": unigram_loss(training, scored[1], model)}
    ways = dict[str, Rule]()
    for name, grid in GRIDS.items():
        measured |= storage(name, grid, model)
        ways[f"nearest/{name}"] = nearest(grid)
    if unrounded:
        return measured | dict.fromkeys([*ways, *compensated(Calibration())], measured["whole"])
    seen = calibrated(model, training, amounts, lab)
    for name, rule in (ways | compensated(seen)).items():
        put(model, weights, rule)
        measured[name] = loss(model, scored)
    return measured


def excerpt(text: str, characters: int, tokenizer: FastBpe, lab: Lab, name: str) -> Tensor:
    """Tokens of a part of a text."""
    start = int(lab.numpy_rng(name).integers(max(1, len(text) - characters)))
    return torch.from_numpy(tokenizer.encode_array(text[start : start + characters])).long()


@torch.inference_mode()
def loss(model: Gpt | Llama, windows: tuple[Tensor, Tensor]) -> float:
    """Nats a token, or a byte."""
    return float(model.loss(*windows))


def unigram_loss(text: Tensor, targets: Tensor, model: Llama) -> float:
    """The same for tokens by how often they are in a text, unseen ones a hundredth of once."""
    counts = torch.bincount(text, minlength=model.config.vocab) + 0.01
    return -float((counts / counts.sum()).log()[targets].mean())


def storage(name: str, grid: BitGrid, model: Llama) -> Measured:
    """Bits a weight of the blocks, and megabytes of the model with 16 bits for all the rest."""
    shapes = [layer.weight.shape for layer in block_layers(model).values()]
    count = sum(shape.numel() for shape in shapes)
    bits = sum(shape.numel() * grid.bits_per_weight(shape[1]) for shape in shapes)
    rest = sum(p.numel() for p in model.parameters()) - count
    return {f"{name}/bits": bits / count, f"{name}/megabytes": (bits + 16 * rest) / 8e6}


def calibrated(model: Llama, text: Tensor, amounts: Amounts, lab: Lab) -> Calibration:
    """Run the model over some text, and keep what GPTQ and AWQ need."""
    seen = Calibration()
    tokens, _ = sample_windows(
        text, 2 * amounts.context, amounts.calibration, lab.rng("calibration")
    )

    def look(name: str, inputs: Tensor) -> None:
        seen.prepared[name] = prepare(hessian(inputs), GPTQ)
        seen.inputs[name] = inputs[: tokens.shape[1]]  # a whole window, for its first token counts

    with looked_at(model, look), torch.no_grad():
        model.read(tokens)
    return seen


@contextmanager
def looked_at(model: nn.Module, look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Show the inputs of every layer of the blocks as they come."""
    hooks = [
        layer.register_forward_pre_hook(lambda _, got, name=name: look(name, got[0].flatten(0, 1)))
        for name, layer in block_layers(model).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def nearest(grid: BitGrid) -> Rule:
    """Plain rounding."""
    return lambda _, weight: rounded(weight, grid)


def by_gptq(seen: Calibration, grid: BitGrid) -> Rule:
    """Errors made up for by later columns."""
    return lambda name, weight: gptq(weight, seen.prepared[name], grid)


def by_awq(seen: Calibration, grid: BitGrid) -> Rule:
    """Finer steps for large inputs."""
    return lambda name, weight: awq(weight, seen.inputs[name], grid, ALPHAS).weight


def compensated(seen: Calibration) -> dict[str, Rule]:
    """GPTQ and AWQ at every number of bits."""
    ways = dict[str, Rule]()
    for bits in BITS:
        grid = GRIDS[f"{bits}"]
        ways |= {f"gptq/{bits}": by_gptq(seen, grid), f"awq/{bits}": by_awq(seen, grid)}
    return ways


@torch.no_grad()
def put(model: nn.Module, weights: dict[str, Tensor], rule: Rule) -> None:
    """Give every layer of the blocks the weights that a rule makes of its own ones."""
    for name, layer in block_layers(model).items():
        layer.weight = nn.Parameter(rule(name, weights[name]), requires_grad=False)
