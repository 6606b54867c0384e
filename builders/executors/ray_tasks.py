"""Tasks with GPUs as tasks of a Ray cluster: one each, on one node.

In: the folder of a task, and its number of GPUs. Out: a task of Ray, which runs the command as a
process of its own. Ray says by `CUDA_VISIBLE_DEVICES` which GPUs are the task's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders.executors.ray import connect
from builders.executors.task_states import LOG, State
from builders.recipe import Executor
from store.errors import InputError
from store.files import private

BEGUN = "begun"


class RayJobs:
    """The tasks of one `Tasks`."""

    def __init__(self, executor: Executor) -> None:
        connect(executor.address)
        self._executor = executor

    def submit(self, folder: Path, gpus: int) -> RayJob:
        import ray

        gpu = self._executor.gpu
        assert gpu is not None
        wanted = {"GPU": gpus, "CPU": gpu.cpus_per_gpu * gpus, "memory": gpu.mem_per_gpu_gb * gpus * 2**30}
        _require(wanted)
        task = ray.remote(run).options(
            num_gpus=gpus,
            num_cpus=wanted["CPU"],
            memory=wanted["memory"],
            max_retries=0,
            name=folder.name,
        )
        return RayJob(task.remote(str(folder)), folder)

    def cancel_old(self, folders: Sequence[Path]) -> None:
        """Nothing: Ray ends the tasks of a driver with it."""


def run(folder: str) -> int:
    """The task, in a process of Ray."""
    with open(Path(folder, LOG), "ab", opener=private) as log:
        Path(folder, BEGUN).touch()
        # In a process of its own: it ends all of its children, and a process of Ray has others.
        return subprocess.call([sys.executable, "-m", "builders.executors.node", folder], stdout=log, stderr=log)


class RayJob:
    """One task. While it waits for GPUs, nothing has begun in its folder."""

    def __init__(self, reference: Any, folder: Path) -> None:
        self._reference, self._begun = reference, folder / BEGUN

    def state(self) -> State:
        import ray
        from ray.exceptions import RayError

        ended, _ = ray.wait([self._reference], num_returns=1, timeout=0)
        if not ended:
            return State(is_waiting=not self._begun.exists())
        try:
            code = ray.get(self._reference)
        except RayError as error:
            # A lost worker or node, or a cancelled task: it writes nothing any more.
            return State(is_gone=True, told=f"{type(error).__name__}: {str(error).splitlines()[0]}", was_taken=True)
        return State(is_gone=True, told=f"exit code {code}")

    def cancel(self) -> None:
        import ray

        ray.cancel(self._reference, force=True)


def _require(wanted: dict[str, int]) -> None:
    """InputError where no living node could ever run such a task: it would wait for ever."""
    import ray

    nodes = [found["Resources"] for found in ray.nodes() if found["Alive"]]
    if not any(all(found.get(name, 0) >= number for name, number in wanted.items()) for found in nodes):
        have = "; ".join(
            f"{n.get('GPU', 0):g} GPUs, {n.get('CPU', 0):g} CPUs, {n.get('memory', 0) / 2**30:.1f} GiB" for n in nodes
        )
        raise InputError(
            f"executor.gpu: a task needs {wanted['GPU']} GPUs, {wanted['CPU']} CPUs and {wanted['memory'] / 2**30:g} GiB, "
            f"and no node of the cluster has that (they have {have}): lower gpus_per_node, cpus_per_gpu or mem_per_gpu_gb"
        )
