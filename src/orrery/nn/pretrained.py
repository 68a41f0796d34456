"""Weights in the layout in which the field publishes them: config.json and model.safetensors.

A model names, row by row, where each of its modules stands in the published layout, and turns the
published settings into its own config and back. Everything else is done here, and strictly: a
weight without a place, a place without a weight, or a shape that differs is an error.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from orrery.errors import OrreryError
from orrery.files import read_json, write_atomically, write_json

M = TypeVar("M", bound="Pretrained")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Row:
    """A module of ours, or one of its tensors, and where it stands in the published layout."""

    ours: str
    """For example `blocks.{}.attention.qkv`; each {} stands for a number."""
    theirs: str | tuple[str, ...]
    """With as many {}. Several names: their tensors lie one above the other in ours."""
    transposed: bool = False
    """The published matrix is inputs by outputs."""

    def names(self, ours: str) -> tuple[str, ...]:
        """The published names of our tensor `ours`, or none where the row is not about it."""
        pattern = re.escape(self.ours).replace(r"\{\}", r"(\d+)") + r"(\.\w+)?"
        found = re.fullmatch(pattern, ours)
        if found is None:
            return ()
        *numbers, leaf = found.groups()
        theirs = (self.theirs,) if isinstance(self.theirs, str) else self.theirs
        return tuple(name.format(*numbers) + (leaf or "") for name in theirs)


class Pretrained(nn.Module):
    """A model that reads and writes the published layout."""

    kind: ClassVar[str]
    """What config.json calls the family: `model_type`."""
    architecture: ClassVar[str]
    """What config.json calls the class."""
    prefix: ClassVar[str] = ""
    """Begins the published names; files of a model without its head leave it out."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Patterns of published tensors that hold nothing new: masks, copies of tied weights."""
    config: Any

    @classmethod
    @abstractmethod
    def read_config(cls, values: Mapping[str, Any]) -> Any:
        """Our config for the published settings.

        Raises:
            ValueError: a setting asks for what this model does not do.
        """

    @abstractmethod
    def write_config(self) -> dict[str, Any]:
        """The published settings of this model."""

    @abstractmethod
    def layout(self) -> tuple[Row, ...]:
        """Where each tensor of this model stands; of several rows the first that matches."""

    @classmethod
    def build(cls: type[M], config: Any) -> M:
        """A model to be filled; where the constructor takes more than a config, override this."""
        return cls(config)

    @classmethod
    def from_pretrained(cls: type[M], folder: str | Path) -> M:
        """The model kept in `folder`, in eval mode, in the number format of its file.

        Raises:
            OrreryError: a file is missing or damaged, a setting is not supported, or the weights
                are not those that the settings ask for.
        """
        folder = Path(folder)
        values = read_json(folder / "config.json")
        if not isinstance(values, dict):
            raise OrreryError(f"{folder / 'config.json'} must hold an object")
        try:
            config = cls.read_config(values)
        except (ValueError, TypeError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise OrreryError(f"{folder / 'config.json'}: {reason}") from error
        with torch.device("meta"):  # no time spent on numbers that the file replaces
            model = cls.build(config)
        model.load_state_dict(model.ours(read_weights(folder), folder), assign=True)
        return model.eval()

    def ours(self, published: Mapping[str, Tensor], where: str | Path) -> dict[str, Tensor]:
        """The published tensors under our names and in our shapes.

        Raises:
            OrreryError: one is missing, left over or of another shape; `where` is named.
        """
        left, found = dict(published), {}
        if not any(name.startswith(self.prefix) for name in left):
            left = {self.prefix + name: weight for name, weight in left.items()}
        for name, mine in self.state_dict().items():
            row, theirs = self._placed(name)
            missing = [one for one in theirs if one not in left]
            if missing:
                raise OrreryError(f"{where}: the weights lack {missing[0]}")
            parts = [left.pop(one) for one in theirs]
            if row.transposed and mine.ndim == 2:
                parts = [part.T for part in parts]
            whole = parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
            if whole.shape != mine.shape:
                shapes = f"{tuple(whole.shape)}, not {tuple(mine.shape)}"
                raise OrreryError(f"{where}: {theirs[0]} has the shape {shapes}")
            found[name] = whole
        extra = [n for n in left if not any(re.fullmatch(p, n) for p in self.unused)]
        if extra:
            raise OrreryError(f"{where}: the weights hold {extra[0]}, which this model has not")
        return found

    def published(self) -> dict[str, Tensor]:
        """Our tensors under the published names."""
        found: dict[str, Tensor] = {}
        for name, mine in self.state_dict().items():
            row, theirs = self._placed(name)
            for one, part in zip(theirs, self.parts(name, mine, len(theirs)), strict=True):
                turned = part.T if row.transposed and part.ndim == 2 else part
                found[one] = turned.detach().contiguous().clone()
        return found

    def parts(self, name: str, stacked: Tensor, count: int) -> tuple[Tensor, ...]:
        """The tensors that lie one above the other in ours; equal parts unless overridden."""
        return stacked.chunk(count)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, each whole or not at all.

        Raises:
            OrreryError: the folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OrreryError(f"cannot make {folder}: {error.strerror}") from error
        first = next(iter(self.parameters()))
        write_atomically(
            folder / WEIGHTS, tensor_bytes(self.published(), metadata={"format": "pt"})
        )
        head = {"architectures": [self.architecture], "model_type": self.kind}
        dtype = {"dtype": str(first.dtype).removeprefix("torch.")}
        write_json(folder / "config.json", {**head, **self.write_config(), **dtype})

    def _placed(self, name: str) -> tuple[Row, tuple[str, ...]]:
        for row in self.layout():
            theirs = row.names(name)
            if theirs:
                return row, theirs
        raise AssertionError(f"{type(self).__name__}.layout() has no row for {name}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor in `folder`: of model.safetensors, or of the shards that its index names.

    Raises:
        OrreryError: a file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for path in _files(folder):
        try:
            tensors |= read_tensors(path.read_bytes())
        except OSError as error:
            raise OrreryError(f"cannot read {path}: {error.strerror}") from error
        except (SafetensorError, ValueError) as error:
            raise OrreryError(f"{path} is damaged: {error}") from error
    return tensors


def _files(folder: Path) -> Iterator[Path]:
    if not (folder / INDEX).exists():
        yield folder / WEIGHTS
        return
    index = read_json(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise OrreryError(f"{folder / INDEX} lacks a weight_map of file names")
    for name in sorted(set(names.values())):
        if Path(name).name != name:  # a shard lies beside its index, nowhere else
            raise OrreryError(f"{folder / INDEX}: {json.dumps(name)} is not a file name")
        yield folder / name


def refuse_unsupported(values: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Check published settings that change what a model computes.

    Raises:
        ValueError: a setting is given and is none of those allowed.
    """
    for name, choices in allowed.items():
        if name in values and values[name] not in choices:
            known = ", ".join(json.dumps(choice) for choice in choices)
            raise ValueError(f"{name} must be one of {known}, got {json.dumps(values[name])}")
