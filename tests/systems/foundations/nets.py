"""What the tests of the convolutional nets share."""

import torch
import torch.nn.functional as F
from torch import nn


def shake(model, seed=0):
    """Weights and batch norm statistics far from their start, for outputs with spread near 1."""
    torch.manual_seed(seed)
    model.double()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.3)
        elif tensor.ndim > 1:
            nn.init.kaiming_normal_(tensor, nonlinearity="relu")
    return model


def on_meta(build, config):
    """The model without memory for its weights."""
    with torch.device("meta"):
        return build(config)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def batch_norm(name, channels):
    """The entries of a batch norm in a state dict."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def residual_layout(blocks, inner, outputs, *, groups=1, gate=None, classes=1000):
    """Names and shapes of a published residual net of bottlenecks, from the rule that made them."""
    found = {"conv1.weight": (64, 3, 7, 7), **batch_norm("bn1", 64)}
    inputs = 64
    for stage, count in enumerate(blocks):
        i, o = inner << stage, outputs << stage
        for index in range(count):
            at = f"layer{stage + 1}.{index}."
            found[f"{at}conv1.weight"] = (i, inputs, 1, 1)
            found[f"{at}conv2.weight"] = (i, i // groups, 3, 3)
            found[f"{at}conv3.weight"] = (o, i, 1, 1)
            for number, channels in enumerate((i, i, o), 1):
                found |= batch_norm(f"{at}bn{number}", channels)
            if gate is not None:
                found |= {
                    f"{at}se.fc1.weight": (o // gate, o, 1, 1),
                    f"{at}se.fc1.bias": (o // gate,),
                }
                found |= {f"{at}se.fc2.weight": (o, o // gate, 1, 1), f"{at}se.fc2.bias": (o,)}
            if index == 0:
                found[f"{at}downsample.0.weight"] = (o, inputs, 1, 1)
                found |= batch_norm(f"{at}downsample.1", o)
            inputs = o
    return found | {"fc.weight": (classes, inputs), "fc.bias": (classes,)}


def one_batch(model, images, labels, steps=30, rate=0.01):
    """The loss at each step while the model learns one batch."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
