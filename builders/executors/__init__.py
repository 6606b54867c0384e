"""Where the shards of a table are built: processes here, tasks of a Ray cluster, or the array of a Slurm job.

    build.build_sharded(store, plan, "builders.snippet_checks:shard", recipe.executor)

Jobs that need a model run on the devices of this machine (`devices`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil

from builders.recipe import Executor
from store.errors import InputError

__all__ = ["build", "check", "devices"]


def check(executor: Executor) -> None:
    """What a user can get wrong, before any work: a ValueError says what this machine lacks for the executor."""
    if executor.kind == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError("executor.kind ray: Ray is not installed; pip install 'scoder[ray]', on every machine")
    if executor.kind == "slurm":
        if lacking := [command for command in ("sbatch", "squeue", "scancel") if shutil.which(command) is None]:
            raise InputError(f"executor.kind slurm: no {', '.join(lacking)} here; start on a login node of the cluster")
        if "SLURM_ARRAY_TASK_ID" in os.environ:
            raise InputError("executor.kind slurm: this is a task of an array; start on a login node or in a plain job")
