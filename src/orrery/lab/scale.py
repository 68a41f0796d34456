"""The scales of an experiment: the same code with other settings."""

from typing import Literal, get_args

Scale = Literal["smoke", "tour", "full", "large"]
"""smoke: seconds, for tests. tour: the first look. full: the default. large: a GPU or many."""

SCALES: tuple[Scale, ...] = get_args(Scale)
