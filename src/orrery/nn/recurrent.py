"""Layers of a recurrent network: their weights, named and shaped as torch's, and their order.

What a layer does from step to step is left to the class that builds on this one; here stands what
all of them share: layers upon layers, each once forwards and, if asked for, once backwards.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

Sequence = Float[Tensor, "b t i"]
Steps = Float[Tensor, "t b i"]  # time first: one step of the whole batch lies together
States = tuple[Float[Tensor, "n b d"], ...]  # n is layers times directions
LayerStates = tuple[Float[Tensor, "b d"], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecurrentConfig:
    """Sizes of a stack of recurrent layers."""

    inputs: int = 64
    width: int = 64
    depth: int = 1
    bidirectional: bool = False
    """A second set of weights reads from the end; the outputs stand side by side."""

    def __post_init__(self) -> None:
        for name in ("inputs", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerWeights:
    """Of one layer in one direction; the blocks of all gates stand one above the other."""

    input: Float[Tensor, "g i"]
    recurrent: Float[Tensor, "g d"]
    input_bias: Float[Tensor, " g"]
    recurrent_bias: Float[Tensor, " g"]

    def products(self, x: Steps) -> Float[Tensor, "t b g"]:
        """What the inputs say to every gate at every step, by one matrix product for all steps."""
        return x @ self.input.T + self.input_bias


class Recurrent(nn.Module):
    """The stack; a state dict of torch's module of the same kind loads as it is."""

    def __init__(self, config: RecurrentConfig, gates: int) -> None:
        """Draw all weights from +-1 / sqrt(width).

        Args:
            config: the sizes.
            gates: blocks of weights in a layer.
        """
        super().__init__()
        self.config, self.directions = config, 2 if config.bidirectional else 1
        for layer in range(config.depth):
            inputs = config.width * self.directions if layer else config.inputs
            shapes = {"weight_ih": (inputs,), "weight_hh": (config.width,), "bias_ih": (),
                      "bias_hh": ()}  # fmt: skip
            for direction in range(self.directions):
                for name, rest in shapes.items():
                    weight = torch.empty(gates * config.width, *rest)
                    nn.init.uniform_(weight, -(config.width**-0.5), config.width**-0.5)
                    setattr(self, name + suffix(layer, direction), nn.Parameter(weight))

    def weights(self, layer: int, direction: int = 0) -> LayerWeights:
        """Those of a layer, counted from the input; direction 1 reads from the end."""
        end = suffix(layer, direction)
        return LayerWeights(
            input=self.get_parameter("weight_ih" + end),
            recurrent=self.get_parameter("weight_hh" + end),
            input_bias=self.get_parameter("bias_ih" + end),
            recurrent_bias=self.get_parameter("bias_hh" + end),
        )  # fmt: skip

    def start(self, batch: int) -> Float[Tensor, "n b d"]:
        """Zeros: one state before the first step, for all layers."""
        return self.get_parameter("weight_hh_l0").new_zeros(
            self.config.depth * self.directions, batch, self.config.width
        )

    @abstractmethod
    def sweep(
        self, x: Steps, weights: LayerWeights, state: LayerStates
    ) -> tuple[Float[Tensor, "t b d"], LayerStates]:
        """One layer over all steps: its outputs, and its state after the last."""

    def run(self, x: Sequence, states: States) -> tuple[Float[Tensor, "b t _"], States]:
        """All layers in both directions: outputs of the last, and the states after the end."""
        steps, after = x.transpose(0, 1), []
        for layer in range(self.config.depth):
            outputs = []
            for direction in range(self.directions):
                before = tuple(s[layer * self.directions + direction] for s in states)
                read = steps.flip(0) if direction else steps
                y, end = self.sweep(read, self.weights(layer, direction), before)
                outputs.append(y.flip(0) if direction else y)
                after.append(end)
            steps = torch.cat(outputs, dim=-1) if self.directions > 1 else outputs[0]
        return steps.transpose(0, 1), tuple(torch.stack(s) for s in zip(*after, strict=True))


def suffix(layer: int, direction: int) -> str:
    """How torch names the weights of a layer: `weight_ih_l0`, `weight_ih_l0_reverse`."""
    return f"_l{layer}" + ("_reverse" if direction else "")
