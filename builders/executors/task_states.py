"""What Slurm and Ray say of a task with GPUs, and what is asked of them: see `gpu_tasks.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOG = "log"
"""The file of a task's folder in which everything stands that it writes."""


@dataclass(frozen=True)
class State:
    """What a cluster says of a task: whether it waits or is gone, and in its words how.

    With `was_taken`, the node was taken away: the time was over, or the node failed.
    """

    is_waiting: bool = False
    is_gone: bool = False
    told: str = ""
    was_taken: bool = False


class Job(Protocol):
    """A task as Slurm or Ray knows it."""

    def state(self) -> State: ...

    def cancel(self) -> None: ...


class Jobs(Protocol):
    """Slurm or Ray, for the tasks of one `Tasks`."""

    def submit(self, folder: Path, gpus: int) -> Job: ...

    def cancel_old(self, folders: Sequence[Path]) -> None: ...
