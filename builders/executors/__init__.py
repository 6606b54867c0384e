"""Where the shards of a table are built: processes here, Ray tasks, or a Slurm job array.

    build.build_sharded(store, plan, "builders.snippet_checks:shard", recipe.executor)

Jobs that need a model run on the devices of this machine (`devices`), or as tasks with GPUs of the
same cluster (`gpu_tasks`, `gpu_jobs`, `node_trainings`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket

from builders.recipe import Executor
from store.errors import InputError

__all__ = ["build", "check", "cpus", "devices", "endings", "gpu_jobs", "gpu_tasks", "node_trainings"]


def check(executor: Executor) -> None:
    """Check, before any work, that this machine has what the executor needs.

    InputError says what lacks.
    """
    if executor.kind == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError(
            "executor.kind is ray, but Ray is not installed: run `pip install 'scoder[ray]'` on every machine of the cluster"
        )
    if executor.kind == "slurm":
        if lacking := [command for command in ("sbatch", "squeue", "scancel") if shutil.which(command) is None]:
            raise InputError(
                f"executor.kind is slurm, but there is no {', '.join(lacking)} here: start on a login node of the cluster"
            )
        if "SLURM_ARRAY_TASK_ID" in os.environ:
            raise InputError(
                "executor.kind is slurm, but this process is itself a task of a job array: start on a login node or in a "
                "plain job"
            )
    _check_host(executor)


def _check_host(executor: Executor) -> None:
    """InputError if the nodes could not find this machine."""
    if executor.gpu is None or executor.gpu.host is not None:
        return
    name = socket.getfqdn()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = "unknown"
    if address.startswith("127.") or address == "unknown":
        raise InputError(
            f"engines on the nodes connect to this machine, but its name {name!r} stands for the address {address}: set "
            "executor.gpu.host to the name or address under which the nodes reach it"
        )
