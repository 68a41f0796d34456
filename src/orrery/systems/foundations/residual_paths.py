"""What a residual net is made of: gradients by layer and by path, and blocks taken out.

A net of n residual blocks is a sum over 2^n paths, C(n, k) of them through k branches. The gradient
that arrives through all paths of length k is their number times the gradient of a typical one; long
paths are many but carry next to nothing. A net that is such a sum can lose a block, and with it
half of its paths, and go on; a plain net has one path, and cannot.

Source: Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow
Networks", arXiv:1605.06431, sections 4.1 (lesions) and 5 (gradients of single paths).
Differs from the paper: gradients at the input image; a lesion of a plain net takes out the same two
convolutions as that of a residual net.
"""

import copy
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from orrery.catalog import System
from orrery.systems.foundations.cifar_resnet import CifarResNet, Route

SYSTEM = System(
    stem="residual_paths", area="foundations", title="Paths of a residual net", year=2016,
    papers=("arXiv:1605.06431",), builds_on=("cifar_resnet",), realises=(),
)  # fmt: skip

Images = Float[Tensor, "b c y x"]
Labels = Int64[Tensor, " b"]


def layer_gradients(net: CifarResNet, images: Images, labels: Labels) -> list[float]:
    """Norm of the loss's gradient for every convolution, from the image upwards; net unchanged."""
    net = copy.deepcopy(net)  # a forward pass in training moves the running statistics
    weights = [p for p in net.parameters() if p.ndim == 4]
    loss = F.cross_entropy(net(images), labels)
    return [g.norm().item() for g in torch.autograd.grad(loss, weights)]


def path_gradients(
    net: CifarResNet, images: Images, labels: Labels, generator: Generator
) -> list[float]:
    """Size of the image's gradient that comes through all paths of 0, 1, ... n branches.

    One path of each length is drawn at random and stands for the others.
    """
    blocks = len(net.blocks)
    sizes = []
    for length in range(blocks + 1):
        routes: list[Route] = ["shortcut"] * blocks
        order = torch.randperm(blocks, generator=generator, device=generator.device)
        for index in order[:length].tolist():
            routes[index] = "branch"
        x = images.clone().requires_grad_()
        loss = F.cross_entropy(net(x, routes), labels)
        sizes.append(math.comb(blocks, length) * torch.autograd.grad(loss, x)[0].norm().item())
    return sizes


@torch.no_grad()
def removal_errors(net: CifarResNet, images: Images, labels: Labels) -> list[float]:
    """Error of the net without block 0, without block 1, ..."""
    errors = []
    for removed in range(len(net.blocks)):
        routes: list[Route] = ["both"] * len(net.blocks)
        routes[removed] = "removed"
        wrong = net(images, routes).argmax(1) != labels
        errors.append(wrong.float().mean().item())
    return errors
