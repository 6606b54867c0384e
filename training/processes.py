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
from pathlib import Path

import torch
import torch.distributed as dist

from training import signs

COLLECTIVE_S = signs.SAVING_S + 600
"""Seconds after which NCCL gives up on a process that does not take part. One may be saving, and
the launcher ends a training that stands still earlier."""


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


def _meet() -> None:
    """Hear of all others. Only the first number that is sent shows whether the connection works:
    until then NCCL has not tried it."""
    heard = torch.ones(1, device=where())
    dist.all_reduce(heard)
    assert int(heard.item()) == num_processes(), (heard, num_processes())


@contextmanager
def joined(meeting: str, rank: int, processes: int) -> Iterator[None]:
    """Inside this block the processes can talk to each other. `meeting` is a new file.

    The launcher is told when this process has come here, and when it has met the others: it ends
    the training if that takes too long (`training/attempt.py`).
    """
    if processes == 1:
        yield
        return
    signs.give(Path(meeting), signs.HERE, rank)
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
    _meet()
    signs.give(Path(meeting), signs.MET, rank)
    yield
    # Not after an error: the others may be gone, and then this would wait for them.
    dist.destroy_process_group()
