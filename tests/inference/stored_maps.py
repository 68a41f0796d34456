"""Random maps as files store them, and their numbers."""

import torch

from orrery.inference.step import StoredMap


def q4_1(rows, groups, generator):
    q = torch.randint(16, (rows * groups, 32), generator=generator, dtype=torch.uint8)
    two = (torch.randn(rows * groups, 2, generator=generator) * 0.05).half()
    packed = q[:, :16] | q[:, 16:] << 4
    stored = torch.cat([two.view(torch.uint8), packed], dim=1)
    return stored, (two[:, :1].float() * q + two[:, 1:].float()).reshape(rows, -1)


def q8_0(rows, groups, generator):
    q = torch.randint(-127, 128, (rows * groups, 32), generator=generator, dtype=torch.int8)
    scale = (torch.rand(rows * groups, 1, generator=generator) * 0.01).half()
    stored = torch.cat([scale.view(torch.uint8), q.view(torch.uint8)], dim=1)
    return stored, (scale.float() * q).reshape(rows, -1)


def floats(rows, groups, generator):
    numbers = torch.randn(rows, 32 * groups, generator=generator) * 0.2
    return numbers, numbers


def in_order(stored, rows):
    return StoredMap(stored=stored, order=torch.arange(rows))
