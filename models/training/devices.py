"""What training runs on: a GPU where there is one, several processes where `torchrun` started them.

In several processes each takes its share of every batch and gradients are averaged, so that a step is the step of
one process. Norms' statistics are of each process's share, and averaged at the end of an epoch.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, distributed

Result = TypeVar("Result")


def pick_device() -> torch.device:
    """Return a GPU if there is one, this process's own where there are several."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_native_bf16(device: torch.device) -> bool:
    """Tells whether bf16 is computed natively here; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in known if ask is not None)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Compute in bf16 inside the block where that pays."""
    return torch.autocast(device.type, torch.bfloat16) if has_native_bf16(device) else nullcontext()


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started, if it did; yields this one's rank and how many there are."""
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
    """Give every process the mean of these tensors over all processes; nothing where there is only one.

    They travel as one piece: between hosts each piece costs a round trip, however small it is.
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
    """Return the mean of all processes' numbers."""
    if not distributed.is_initialized():
        return number
    mean = torch.tensor([number], dtype=torch.float64, device=device)
    average([mean])
    return float(mean)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank, and how many processes there are."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def equal_on_all_ranks(number: int, device: torch.device) -> bool:
    """Tells whether all processes have the same number."""
    if not distributed.is_initialized():
        return True
    mine = torch.tensor([number], dtype=torch.int64, device=device)
    all_of_them = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(all_of_them, mine)
    return all(int(other) == number for other in all_of_them)


def rank_zero_first(work: Callable[[], Result]) -> Result:
    """Has the first process do something, and after it the others, who find it done."""
    rank, _ = rank_and_world_size()
    if rank and distributed.is_initialized():
        distributed.barrier()
    result = work()
    if not rank and distributed.is_initialized():
        distributed.barrier()
    return result
