"""A residual net beside the differential equation that its own layers spell out."""

import torch
from torch import Tensor, nn

from orrery.systems.foundations.resnet_euler import EulerConfig, EulerResNet


class LayerTable(nn.Module):
    """Weights of their own for each layer, in place of a smooth function of depth."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, t: float) -> Tensor:
        """Those of the layer at place t = l / L."""
        return self.weights[round(t * len(self.weights))]


class Branches(nn.Module):
    """The branches of one net: F_l(x) for a layer l, blended linearly in between."""

    def __init__(self, config: EulerConfig, depth: int, power: float, *, smooth: bool) -> None:
        super().__init__()
        self.net, self.depth, self.scale = EulerResNet(config), depth, depth**power
        for name in ("inner", "outer"):
            part = getattr(self.net, name)
            table = torch.stack([part(layer / depth) for layer in range(depth)]).detach()
            if not smooth:  # as widely spread, but drawn anew for each layer
                table = torch.randn_like(table) * table.std()
            setattr(self.net, name, LayerTable(table))

    def at(self, x: Tensor, place: float) -> Tensor:
        """How fast the units change at a place, in layers: 0 to L; behind the last, as there."""
        layer = min(int(place), self.depth - 1)
        here = self.net.branch(x, layer / self.depth)
        share = place - layer
        if share == 0 or layer == self.depth - 1:
            return self.scale * here
        return self.scale * torch.lerp(here, self.net.branch(x, (layer + 1) / self.depth), share)

    def euler(self, x: Tensor, step: float = 1.0) -> Tensor:
        """The net itself; with a smaller step, as many more layers."""
        for i in range(round(self.depth / step)):
            x = x + step * self.at(x, i * step)
        return x

    def flow(self, x: Tensor, step: float) -> Tensor:
        """Where the equation leads, by the classical Runge-Kutta method."""
        for i in range(round(self.depth / step)):
            start = i * step
            a = self.at(x, start)
            b = self.at(x + step / 2 * a, start + step / 2)
            c = self.at(x + step / 2 * b, start + step / 2)
            d = self.at(x + step * c, start + step)
            x = x + step / 6 * (a + 2 * b + 2 * c + d)
        return x


class Classifier(nn.Module):
    """Pixels to units, the layers, units to classes."""

    def __init__(self, branches: Branches, width: int) -> None:
        super().__init__()
        self.read, self.branches, self.tell = nn.Linear(196, width), branches, nn.Linear(width, 10)

    def forward(self, pixels: Tensor, step: float = 1.0) -> Tensor:
        """Scores of the classes, by layers of the given step."""
        return self.tell(self.branches.euler(self.read(pixels.flatten(1)), step))

    @torch.no_grad()
    def error(self, pixels: Tensor, classes: Tensor, step: float = 1.0) -> float:
        """Share of the images that it gets wrong."""
        return float((self(pixels, step).argmax(1) != classes).float().mean())


@torch.no_grad()
def unlike(net: Classifier, pixels: Tensor) -> float:
    """How far the branches of neighbours are apart at the units they see: 1 for strangers."""
    x, layers = net.read(pixels.flatten(1)), net.branches
    apart = []
    for layer in range(layers.depth - 1):
        here, after = layers.at(x, float(layer)), layers.at(x, layer + 1.0)
        apart.append((here - after).norm() / (here.square() + after.square()).sum().sqrt())
        x = x + here
    return float(torch.stack(apart).mean())
