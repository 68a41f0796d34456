"""The same loop on one process or many: under torchrun, nothing changes but two calls.

`parallel(model, how)` spreads a model, `shard(batch)` takes this process's part of a batch that
is a pure function of seed and step. Losses then equal those of one process up to rounding, and
a checkpoint, which holds whole tensors, loads on any number of processes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Module = TypeVar("Module", bound=nn.Module)
How = Literal["ddp", "fsdp"]


def launched() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes torchrun started; a barrier before they part. Alone, it does nothing."""
    if not launched() or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process; 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes; 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def parallel(model: Module, how: How = "ddp") -> Module:
    """The model spread over the processes; alone, the model itself.

    `ddp` keeps a copy in each process and averages gradients; `fsdp` keeps a part of each
    tensor (FSDP2). Its state keeps the names of the plain model either way.
    """
    if world() == 1:
        return model
    if how == "fsdp":
        from torch.distributed.fsdp import fully_shard  # slow to import, and seldom needed

        fully_shard(model)
        return model
    wrapped: Any = DistributedDataParallel(model)
    return wrapped


def unwrapped(module: Any) -> Any:
    """The plain module inside a DDP wrapper; anything else as it is."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def shard(batch: Tensor) -> Tensor:
    """This process's rows of a batch; equal parts, so that means of parts average to the mean.

    Raises:
        ValueError: the rows cannot be shared equally.
    """
    processes = world()
    if len(batch) % processes:
        raise ValueError(f"batch={len(batch)} must be a multiple of the {processes} processes")
    return batch.chunk(processes)[rank()]


def mean_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Each number averaged over the processes; alone, as it is."""
    if world() == 1 or not values:
        return values
    numbers = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(numbers)
    return dict(zip(values, (numbers / world()).tolist(), strict=True))


def any_process(*flags: bool) -> tuple[bool, ...]:
    """For each flag, whether it is set in any process: all of them then do the same."""
    if world() == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


def from_first(text: str) -> str:
    """What the first process says (up to 255 bytes), in every process."""
    if world() == 1:
        return text
    letters = torch.zeros(256, dtype=torch.uint8)
    raw = text.encode()
    letters[: len(raw)] = torch.tensor(list(raw), dtype=torch.uint8)
    dist.broadcast(letters, src=0)
    return bytes(letters.tolist()).rstrip(b"\0").decode()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    spread: Any = tensor
    return spread.to_local() if _is_spread(tensor) else tensor


def gathered(value: Any) -> Any:
    """Nested state with every spread tensor made whole; all processes must call it."""
    if _is_spread(value):
        return value.full_tensor()
    if isinstance(value, dict):
        return {key: gathered(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gathered(item) for item in value)
    return value


def spread_model(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Whole tensors of a saved model, spread as `model` holds its own."""
    return {name: _like(state[name], own) for name, own in model.state_dict().items()}


def spread_optimiser(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Whole tensors of a saved optimiser, spread as its parameters are."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    kept = {
        index: {
            key: _like(item, parameters[index]) if _fits(item, parameters[index]) else item
            for key, item in entries.items()
        }
        for index, entries in state["state"].items()
    }
    return {**state, "state": kept}


def _fits(item: Any, parameter: Tensor) -> bool:
    return isinstance(item, Tensor) and item.shape == parameter.shape


def _like(whole: Tensor, own: Tensor) -> Tensor:
    if not _is_spread(own) or _is_spread(whole):
        return whole
    from torch.distributed.tensor import distribute_tensor

    pattern: Any = own
    return distribute_tensor(whole, pattern.device_mesh, pattern.placements)


def _is_spread(value: Any) -> bool:
    """Whether each process holds only a part of this tensor; never so alone."""
    if world() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)
