"""Where a training runs: on this machine, or on a node of a cluster.

In: a cluster, or None. Out: what `training.launch.train` takes as its node.

    with training_node(cluster, "coder") as node:
        launch.train(dataset, base, output, settings, node=node)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builders.executors.gpu_tasks import Cluster, Task, Tasks

if TYPE_CHECKING:
    from training.elsewhere import Node


@contextmanager
def training_node(cluster: Cluster | None, label: str) -> Iterator[Node | None]:
    """What starts a training on a node, or None for this machine. Its tasks end with the block."""
    if cluster is None:
        yield None
        return
    with Tasks(cluster, f"train-{label}") as tasks:

        def start(arguments: list[str], gpus: int | None) -> Task:
            task = tasks.start("node", arguments, gpus or cluster.gpu.gpus_per_node)
            cluster.announce(f"training {label}: a task with GPUs; its log is {task.log}")
            return task

        yield start
