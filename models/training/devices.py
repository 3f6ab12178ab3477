"""Devices and processes of training: a GPU if available, several processes under `torchrun`.

Each process computes its share of every batch and gradients are averaged, so that a step equals that of one process.
Batch norm statistics are per process, and averaged at the end of an epoch.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

Result = TypeVar("Result")


def pick_device() -> torch.device:
    """Return a GPU if available (with several, the one of this process's local rank), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_native_bf16(device: torch.device) -> bool:
    """Whether a device computes bf16 natively; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported() for supported in checks if supported is not None)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in bf16 on devices with native support."""
    return torch.autocast(device.type, torch.bfloat16) if has_native_bf16(device) else nullcontext()


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the process group of `torchrun`, if any; yield this process's rank and the world size."""
    if "WORLD_SIZE" not in os.environ:
        yield 0, 1
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(pick_device())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank(), distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


def average(tensors: Iterable[Tensor | None]) -> None:
    """Average tensors in place over all processes; does nothing in a single process.

    They are sent as one tensor, because between hosts each tensor costs a round trip.
    """
    if not distributed.is_initialized():
        return
    found = [tensor for tensor in tensors if tensor is not None and tensor.is_floating_point()]
    if not found:
        return
    together = torch.cat([tensor.reshape(-1) for tensor in found])
    distributed.all_reduce(together)
    together.div_(distributed.get_world_size())
    for tensor, mean in zip(found, torch.split(together, [tensor.numel() for tensor in found]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def average_number(number: float, device: torch.device) -> float:
    """Return the mean of a number over all processes."""
    if not distributed.is_initialized():
        return number
    mean = torch.tensor([number], dtype=torch.float64, device=device)
    average([mean])
    return float(mean)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def equal_on_all_ranks(number: int, device: torch.device) -> bool:
    """Whether a number is the same in all processes."""
    if not distributed.is_initialized():
        return True
    mine = torch.tensor([number], dtype=torch.int64, device=device)
    all_of_them = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(all_of_them, mine)
    return all(int(other) == number for other in all_of_them)


def from_rank_zero(work: Callable[[], Result]) -> Result:
    """Run a function in the first process, and return its result in all."""
    if not distributed.is_initialized():
        return work()
    result: list[Any] = [work() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(result)
    found: Result = result[0]
    return found


def rank_zero_first(work: Callable[[], Result]) -> Result:
    """Run a function in the first process, then in the others, which find its results cached."""
    rank, _ = rank_and_world_size()
    if rank and distributed.is_initialized():
        distributed.barrier()
    result = work()
    if not rank and distributed.is_initialized():
        distributed.barrier()
    return result
