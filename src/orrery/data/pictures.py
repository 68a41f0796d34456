"""Some images of a set as tensors, smaller if wanted."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from orrery.data.emoji import Emoji
from orrery.data.labelled import Labelled

Pictures = Float[Tensor, "n 1 y x"]  # pixels from -1 (black) to 1 (white)
Colours = Float[Tensor, "n 3 y x"]
Classes = Int64[Tensor, " n"]


def draw_pictures(
    part: Labelled, count: int, generator: Generator, *, halvings: int = 0
) -> tuple[Pictures, Classes]:
    """`count` images in random order (all, if there are fewer) and their classes.

    They lie in memory with channels last, which convolutions on a CPU are faster on.

    Args:
        part: images of pixels from 0 to 255.
        count: at most so many.
        generator: picks them; the tensors are on its device.
        halvings: how often height and width are halved by averaging 2 x 2 pixels.

    Raises:
        ValueError: count is below 1, or the images are too small to be halved so often.
    """
    smallest = min(part.images.shape[1:])
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 0 <= halvings < smallest.bit_length():
        raise ValueError(f"halvings must be from 0 to {smallest.bit_length() - 1}, got {halvings}")
    order = torch.randperm(len(part), generator=generator, device=generator.device)
    chosen = order[:count].cpu().numpy()
    pixels = torch.from_numpy(part.images[chosen]).float()[:, None] / 127.5 - 1
    if halvings:
        pixels = F.avg_pool2d(pixels, 2**halvings)
    pixels = pixels.to(generator.device, memory_format=torch.channels_last)
    return pixels, torch.from_numpy(part.labels[chosen]).to(generator.device)


def draw_colours(part: Emoji, count: int, generator: Generator) -> tuple[Colours, Classes]:
    """`count` colour pictures in random order (all, if there are fewer) and their classes.

    Args:
        part: pictures of pixels from 0 to 255; here they go from -1 to 1.
        count: at most so many.
        generator: picks them; the tensors are on its device.

    Raises:
        ValueError: count is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    order = torch.randperm(len(part), generator=generator, device=generator.device)
    chosen = order[:count].cpu().numpy()
    pixels = torch.from_numpy(part.images[chosen]).movedim(3, 1).float() / 127.5 - 1
    pixels = pixels.to(generator.device, memory_format=torch.channels_last)
    return pixels, torch.from_numpy(part.labels[chosen]).to(generator.device)
