"""Where the replicas of an engine run: on a GPU each, on a group of GPUs, or on some CPU cores.

In: the settings of an engine. Out: one place for each replica, with what it adds to the environment
of a process.

    places(VllmSettings(tensor_parallel=2))    # on four GPUs: two places, "0,1" and "2,3"
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builders.engines.settings import LocalSettings, VllmSettings
from builders.executors import cpus
from store.errors import InputError
from training.gpus import visible

if TYPE_CHECKING:
    from builders.recipe import GpuTasks

OURS_ALONE = ("VLLM_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE")
"""Variables that would make replicas meet: each chooses its own port, and none is a rank of others.
Those that begin with VLLM_DP_ are left out, too."""


@dataclass(frozen=True)
class Place:
    """The GPUs of a replica, as `CUDA_VISIBLE_DEVICES` names them, or its share of the CPU cores.

    Both are empty for a replica that has the whole machine, and no GPU.
    """

    gpus: str = ""
    cores: tuple[int, ...] = ()
    num_threads: int | None = None
    num_gpus: int = 0
    """GPUs of a node of a cluster, which says itself which ones they are."""

    def __str__(self) -> str:
        if self.num_gpus:
            return f"a node with {self.num_gpus} GPU{'s' * (self.num_gpus > 1)}"
        return f"GPU {self.gpus}" if self.gpus else "the CPU"

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of a replica that is started here, made from that of this process."""
        kept = {k: v for k, v in given.items() if k not in OURS_ALONE and not k.startswith("VLLM_DP_")}
        if self.gpus:
            kept["CUDA_VISIBLE_DEVICES"] = self.gpus
        if self.num_threads is not None:
            kept["OMP_NUM_THREADS"] = str(min(self.num_threads, int(kept.get("OMP_NUM_THREADS", self.num_threads))))
        return kept


def places(settings: LocalSettings) -> list[Place]:
    """One place for each replica. InputError if there are too few GPUs for them."""
    found, size = [gpu.name for gpu in visible()], settings.tensor_parallel if isinstance(settings, VllmSettings) else 1
    if not found:
        return _on_cores(settings.replicas or 1)
    number = settings.replicas or max(1, len(found) // size)
    if number * size > len(found):
        wanted = f"{number} x {size} GPUs (replicas, tensor_parallel)" if size > 1 else f"{number} GPUs (replicas)"
        raise InputError(
            f"engine {settings.engine!r} is to run on {wanted}, but {len(found)} are visible ({', '.join(found)}): "
            "lower these settings of the engine, or leave replicas out for as many as there are"
        )
    return [Place(",".join(found[i * size : (i + 1) * size])) for i in range(number)]


def on_nodes(settings: LocalSettings, gpu: GpuTasks) -> list[Place]:
    """The same on a cluster: each replica is a task with its own GPUs."""
    size = settings.tensor_parallel if isinstance(settings, VllmSettings) else 1
    return [Place(num_gpus=size)] * (settings.replicas or gpu.replicas)


def _on_cores(number: int) -> list[Place]:
    """Places that share the CPU cores of this process, each core in one of them."""
    if number == 1:
        return [Place()]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    threads = max(1, cpus.usable_cpus() // number)
    shares = [tuple(cores[i::number]) if len(cores) >= number else () for i in range(number)]
    return [Place(cores=share, num_threads=threads) for share in shares]
