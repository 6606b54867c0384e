"""Jobs that need a model: on the devices of this machine, or as tasks with a GPU each on a cluster.

In: a function `(job, keeper) -> result` of some module, and jobs that pickle. Out: the results, as
they are done; on a cluster a result is None or a pydantic model.

    done = run(_write_shard, jobs, recipe.influence.workers, cluster_of(store, recipe.executor))

On a cluster each of `executor.gpu.replicas` tasks gets a part of the jobs, neighbours together, so
that it loads each model once. Each result is a file in the folder of its task. If a task is lost,
what it has not done is given to another one.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from builders.executors import devices
from builders.executors.devices import Keeper
from builders.executors.gpu_tasks import Cluster, Task, Tasks, lost
from builders.executors.node import write_json
from store import errors
from training.watchdog import end_with
from training.worker import Failure, failure_of

J = TypeVar("J")
R = TypeVar("R")

JOBS, ERROR = "jobs.pickle", "error.json"
TICK_S = 0.5
MOST_LOSSES = 3
"""Times that a task may be lost in a row without a result in between."""


def run(
    function: Callable[[J, Keeper], R], jobs: Sequence[J], workers: int | None, cluster: Cluster | None
) -> Iterator[R]:
    """The results of all jobs, in the order in which they are done. A failed job ends the others.

    `workers` is for this machine: see `devices.devices`.
    """
    if not jobs:
        return
    if cluster is None:
        yield from devices.run(function, jobs, devices.devices(workers))
        return
    with Tasks(cluster, "jobs") as tasks:
        parts = [_Part(tasks, function, dict(part)) for part in _parts(list(enumerate(jobs)), cluster.gpu.replicas)]
        while True:
            for part in parts:
                yield from part.new()
            if not any(part.left for part in parts):
                return
            for part in parts:
                part.look()
            time.sleep(TICK_S)


def _parts(jobs: list[Any], most: int) -> list[list[Any]]:
    """Neighbours together, in parts that differ by one job at most."""
    number = min(most, len(jobs))
    bounds = [len(jobs) * i // number for i in range(number + 1)]
    return [jobs[start:stop] for start, stop in pairwise(bounds)]


@dataclass
class _Part:
    """Jobs for one task, those of them that have no result yet, and the task that does them."""

    tasks: Tasks
    function: Callable[..., Any]
    left: dict[int, Any]
    losses: int = 0
    task: Task = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Give what is left to a new task."""
        self.folder = self.tasks.folder / f"part-{min(self.left)}-{time.monotonic_ns()}"
        self.folder.mkdir(mode=0o700)
        with open(self.folder / JOBS, "wb") as file:
            pickle.dump((f"{self.function.__module__}:{self.function.__qualname__}", self.left), file)
            file.flush()
            os.fsync(file.fileno())
        self.task = self.tasks.start("jobs", ["-m", "builders.executors.gpu_jobs", str(self.folder)], 1)

    def new(self) -> Iterator[Any]:
        """The results since the last call."""
        for number in [n for n in self.left if (self.folder / f"{n}.json").exists()]:
            del self.left[number]
            self.losses = 0
            yield _result(self.folder / f"{number}.json")

    def look(self) -> None:
        """Raise the error of the task, or start another one if it is lost."""
        if not self.left or not self.task.has_ended() or any((self.folder / f"{n}.json").exists() for n in self.left):
            return
        if (self.folder / ERROR).exists():
            raise _error(self.folder / ERROR)
        self.losses += 1
        if self.losses >= MOST_LOSSES:
            raise lost("a task with a GPU", self.losses, self.task)
        self.tasks.cluster.announce(f"a task with a GPU was lost, and is started again; {self.task.ending()}")
        self.start()


def _result(path: Path) -> Any:
    told = json.loads(path.read_bytes())
    return None if told is None else _named(told["kind"]).model_validate(told["value"])


def _named(dotted: str) -> Any:
    module, name = dotted.split(":")
    return getattr(importlib.import_module(module), name)


def _error(path: Path) -> Exception:
    failure = Failure.model_validate_json(path.read_bytes())
    kind = getattr(errors, failure.kind, None)
    return kind(failure.message) if kind is not None else failure.error("a task with a GPU")


# -- on the node -----------------------------------------------------------------------------------


def main(folder: str) -> int:
    """Do the jobs of a folder in turn; return the exit code."""
    end_with(os.getppid())
    keeper = Keeper()
    try:
        # The pickle is of this run's own coordinator, in a folder that only its user can write.
        dotted, jobs = pickle.loads(Path(folder, JOBS).read_bytes())
        function = _named(dotted)
        for number, job in jobs.items():
            write_json(Path(folder, f"{number}.json"), _told(function(job, keeper)))
    except Exception as error:
        write_json(Path(folder, ERROR), failure_of(error).model_dump())
        raise
    return 0


def _told(result: BaseModel | None) -> Any:
    if result is None:
        return None
    kind = type(result)
    return {"kind": f"{kind.__module__}:{kind.__qualname__}", "value": result.model_dump(mode="json")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
