"""Tasks with GPUs on a cluster: started, looked at, and ended.

In: the recipe's executor with its section `gpu`, and the store, which all nodes see. Out: tasks. A
task is a command that runs on one node.

    with Tasks(cluster, "train") as tasks:
        task = tasks.start("node", ["-m", "training.launch", "job.json"], gpus=8)
        task.has_ended()    # False, also while it waits in the queue
        task.kill()
        task.ending()       # "it ended with exit code 1. The end of what it wrote (…/log): …"

Each task has a folder below `_runs/_scratch/gpu-tasks`, with its command, its log and its exit
code. Slurm or Ray says whether it still runs (`slurm_tasks.py`, `ray_tasks.py`). A task ends by
itself when its coordinator is gone. What a killed coordinator left in the queue of Slurm is
cancelled when the next one opens tasks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from builders.executors.node import END, TASK, write_json
from builders.executors.task_states import LOG, Job, Jobs, State
from builders.recipe import Executor, GpuTasks
from store import Store
from store.errors import JobError
from store.lock import coordinator_alive, owner

OWNER = "owner.json"
LAG_S = 30.0
"""Seconds that a file which a node has written may stay unseen through a network file system."""
TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class Cluster:
    """Where tasks with GPUs run: the executor, and the root of a store that all nodes see."""

    root: str
    executor: Executor
    announce: Callable[[str], None] = field(default=print, compare=False)

    @property
    def gpu(self) -> GpuTasks:
        """The settings of the tasks."""
        assert self.executor.gpu is not None, "an executor without a section gpu has no tasks with GPUs"
        return self.executor.gpu


def cluster_of(store: Store, executor: Executor | None) -> Cluster | None:
    """The cluster of a recipe, or None if the work of GPUs is done on this machine."""
    return None if executor is None or executor.gpu is None else Cluster(store.root, executor, store.announce)


class Task:
    """See the module."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.log, self._job = folder, folder / LOG, job
        self._gone_at: float | None = None
        self._state = State(is_waiting=True)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits in the queue, as far as is known."""
        return self._state.is_waiting

    @property
    def was_taken(self) -> bool:
        """Whether the cluster took the node away: nothing is wrong with the command."""
        return self._state.was_taken

    @property
    def code(self) -> int | None:
        """The exit code of the command. None while it runs, and where the task was ended."""
        try:
            return int(json.loads((self.folder / END).read_bytes())["code"])
        except FileNotFoundError:
            return None

    def has_ended(self) -> bool:
        """Whether the task is over, well or not."""
        if self.code is not None:
            return True
        self._state = self._job.state()
        if not self._state.is_gone:
            self._gone_at = None
            return False
        self._gone_at = self._gone_at or time.monotonic()
        return self._state.was_taken or time.monotonic() - self._gone_at > LAG_S or self.code is not None

    def kill(self) -> None:
        """End the task, wherever it is."""
        self._job.cancel()

    def wait(self, seconds: float) -> None:
        """Give the task so long to end by itself."""
        until = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.1)

    def ending(self) -> str:
        """How the task ended, and the end of what it wrote."""
        code = self.code
        if code is None:
            how = f"without an exit code ({self._state.told or 'nobody says how'})"
        elif code < 0:
            how = f"by signal {-code} ({signal.Signals(-code).name})"
        else:
            how = f"with exit code {code}"
        return f"it ended {how}. The end of what it wrote ({self.log}):\n{self.tail()}"

    def tail(self) -> str:
        """The end of what the task wrote."""
        text = self.log.read_bytes()[-TAIL_CHARACTERS:].decode(errors="replace") if self.log.exists() else ""
        return text.strip() or "(nothing)"


class Tasks:
    """Tasks that belong together. When this is closed, all of them are ended."""

    def __init__(self, cluster: Cluster, what: str) -> None:
        mine = owner(cluster.root)
        if mine is None or not coordinator_alive(cluster.root):
            raise RuntimeError(f"tasks need a coordinator: run in `with store.lock.coordinator({cluster.root!r})`")
        self.cluster, self._owner = cluster, mine
        self._jobs = _jobs(cluster)
        above = Path(cluster.root, "_runs", "_scratch", "gpu-tasks")
        self._sweep(above)
        self.folder = above / f"scoder-{what}-{uuid.uuid4().hex[:8]}"
        self.folder.mkdir(parents=True, mode=0o700)
        write_json(self.folder / OWNER, mine)
        self._tasks: list[Task] = []

    def start(self, name: str, arguments: Sequence[str], gpus: int, stdin: Path | None = None) -> Task:
        """Start a command of Python with so many GPUs. JobError if the cluster refuses it."""
        folder = self.folder / f"{self.folder.name}-{name}-{len(self._tasks)}"
        folder.mkdir()
        task = {
            "arguments": list(arguments),
            "stdin": None if stdin is None else str(stdin),
            "root": self.cluster.root,
            "owner": self._owner,
            # The nodes find the modules that this process finds, wherever it was started.
            "python_path": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        write_json(folder / TASK, task)
        self._tasks.append(Task(folder, self._jobs.submit(folder, gpus)))
        return self._tasks[-1]

    def close(self, *, keeps_logs: bool = False) -> None:
        """End all tasks, and remove their folder unless their logs are to be kept."""
        for task in self._tasks:
            if task.code is None:
                task.kill()
        if not keeps_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(keeps_logs=kind is not None)

    def _sweep(self, above: Path) -> None:
        """Cancel and forget the tasks of coordinators that are gone: this one has their lock."""
        old = [folder for folder in sorted(above.glob("scoder-*")) if not self._is_mine(folder)]
        self._jobs.cancel_old([path for folder in old for path in sorted(folder.glob("scoder-*"))])
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)

    def _is_mine(self, folder: Path) -> bool:
        try:
            return json.loads((folder / OWNER).read_bytes()) == self._owner
        except (FileNotFoundError, ValueError):
            return False


def _jobs(cluster: Cluster) -> Jobs:
    if cluster.executor.kind == "slurm":
        from builders.executors.slurm_tasks import SlurmJobs

        return SlurmJobs(cluster.executor)
    from builders.executors.ray_tasks import RayJobs

    return RayJobs(cluster.executor)


def lost(what: str, times: int, task: Task) -> JobError:
    """The error for a task that was lost too often."""
    return JobError(f"{what} was lost {times} times without any progress; the last time {task.ending()}")
