"""Checkpoints: the whole state of training as one safetensors file and one JSON manifest.

The manifest carries the SHA-256 of the tensor file and of itself, so that a flipped byte
anywhere is noticed. The tensor file is in place before the manifest names it: a checkpoint
exists when its manifest does.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from orrery.errors import OrreryError
from orrery.files import remove_temporaries, sha256, write_atomically
from orrery.train import distributed

FORMAT = 1
KEPT = 2  # the newest good one, and one more in case the newest is damaged


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a phase of training stood."""

    step: int
    complete: bool
    events: int
    """Bytes of the event log that were written by then."""
    state: Sequence[Any]
    random: Any


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` into `folder`, then drop all but the newest two.

    Raises:
        OrreryError: the disk is full or cannot be written; older checkpoints still stand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packer = _Packer()
    body = {
        "state": packer.pack(list(checkpoint.state), "state"),
        "random": packer.pack(checkpoint.random, "random"),
    }
    data = save(packer.tensors)
    stem = folder / f"step-{checkpoint.step:09d}{'-end' if checkpoint.complete else ''}"
    manifest = {
        "format": FORMAT, "step": checkpoint.step, "complete": checkpoint.complete,
        "events": checkpoint.events, "tensors_sha256": sha256(data), **body,
    }  # fmt: skip
    write_atomically(stem.with_suffix(".safetensors"), data)
    write_atomically(stem.with_suffix(".json"), json.dumps([_seal(manifest), manifest]))
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)  # the manifest first: without it the rest is not a checkpoint
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def read_checkpoint(manifest_path: Path) -> Checkpoint:
    """The checkpoint a manifest describes.

    Raises:
        OrreryError: either file is missing, cut short or changed in any byte.
    """
    try:
        seal, manifest = json.loads(manifest_path.read_bytes())
        if seal != _seal(manifest) or manifest["format"] != FORMAT:
            raise ValueError("its manifest was changed")
        data = manifest_path.with_suffix(".safetensors").read_bytes()
        if sha256(data) != manifest["tensors_sha256"]:
            raise ValueError("its tensors were changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OrreryError(f"checkpoint {manifest_path} is refused: {error}") from error
    tensors = load(data)
    return Checkpoint(
        step=manifest["step"], complete=manifest["complete"], events=manifest["events"],
        state=_unpack(manifest["state"], tensors), random=_unpack(manifest["random"], tensors),
    )  # fmt: skip


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint in `folder` that is whole, and why newer ones were refused."""
    refused: list[str] = []
    if folder.is_dir():
        remove_temporaries(folder)
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            return read_checkpoint(path), refused
        except OrreryError as error:
            refused.append(str(error))
    return None, refused


def capture(state: Sequence[Any]) -> list[Any]:
    """The state of each object, whole: `state_dict()`, or `get_state()` of a generator."""
    plain = map(distributed.unwrapped, state)
    states = [o.get_state() if isinstance(o, Generator) else o.state_dict() for o in plain]
    return [distributed.gathered(kept) for kept in states]


def restore(state: Sequence[Any], saved: Sequence[Any]) -> None:
    """Put `saved` back into the objects it was captured from, in the same order.

    Raises:
        OrreryError: the number of objects differs.
    """
    if len(state) != len(saved):
        raise OrreryError(f"the checkpoint holds {len(saved)} objects, the loop has {len(state)}")
    for target, value in zip(map(distributed.unwrapped, state), saved, strict=True):
        if isinstance(target, Generator):
            target.set_state(value)
        elif isinstance(target, nn.Module):
            target.load_state_dict(distributed.spread_model(value, target))
        elif isinstance(target, Optimizer):
            target.load_state_dict(distributed.spread_optimiser(value, target))
        else:
            target.load_state_dict(value)


def random_state() -> dict[str, Any]:
    """The state of every global random generator."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "python": random.getstate(),
    }


def restore_random(state: dict[str, Any]) -> None:
    """Put the global random generators back to `state`."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])


def _seal(manifest: dict[str, Any]) -> str:
    return sha256(json.dumps(manifest, sort_keys=True).encode())


class _Packer:
    """Turns nested state into JSON plus named tensors; tied tensors are stored once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def pack(self, value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": self._store(value.detach(), path)}
        if isinstance(value, dict):
            return {"dict": [[k, self.pack(v, f"{path}.{k}")] for k, v in value.items()]}
        if isinstance(value, list | tuple):
            items = [self.pack(v, f"{path}.{i}") for i, v in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": items}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise OrreryError(f"a {type(value).__name__} at {path} cannot be kept in a checkpoint")

    def _store(self, tensor: Tensor, path: str) -> str:
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in self._names:
            return self._names[key]
        self._names[key] = path
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        # a view into a larger storage is copied: safetensors stores no sharing
        self.tensors[path] = (tensor if whole else tensor.clone()).contiguous()
        return path


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {k: _unpack(v, tensors) for k, v in content}
    items = [_unpack(v, tensors) for v in content]
    return tuple(items) if kind == "tuple" else items
