"""The processes that train together: which of them this one is, and how they meet.

In: the environment that `training/launch.py` gave this process. Out: a process group, or nothing
where the training is one process.

They meet at a file, so no port has to be free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

COLLECTIVE_S = 1800
"""Seconds after which NCCL gives up on a process that does not take part."""


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def where() -> torch.device:
    """Where a tensor must be for the processes to send it to each other."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def agreed(value: float) -> float:
    """The value of the first process, in all of them."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=where())
    dist.broadcast(shared, src=0)
    return float(shared.item())


@contextmanager
def joined(meeting: str, rank: int, processes: int) -> Iterator[None]:
    """Inside this block the processes can talk to each other. `meeting` is a new file."""
    if processes == 1:
        yield
        return
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(rank)
    # What accelerate reads. It takes the group that is there.
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # nobody listens there
    dist.init_process_group(
        "nccl" if has_gpu else "gloo",
        store=dist.FileStore(meeting, processes),  # a URL of it would end at a # or ?
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=COLLECTIVE_S),
    )
    yield
    # Not after an error: the others may be gone, and then this would wait for them.
    dist.destroy_process_group()
