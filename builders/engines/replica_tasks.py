"""Replicas as tasks with GPUs on a cluster, which connect to this machine over the network.

In: a cluster, and a place for each replica. Out: a task each, see `gpu_tasks.py`.

    with PooledEngine(job, on_nodes(settings, cluster.gpu), ground=OnNodes(cluster)) as engine:
        ...

Address and key reach a replica through a file that only this user can read, in the folder of the
tasks. What goes over the network is not encrypted; who has no key is sent away.
"""

from __future__ import annotations

import json
import os
import socket
from multiprocessing.connection import Listener
from pathlib import Path

from builders.engines.messages import Address, Name
from builders.engines.places import Place
from builders.engines.replica import CODE
from builders.executors.gpu_tasks import Cluster, Task, Tasks


class OnNodes:
    """See the module."""

    listens_at: Address = ("", 0)
    """All addresses of this machine, and any port that is free."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tasks = Tasks(cluster, "replicas")
        self.folder = self._tasks.folder

    def address_of(self, listener: Listener) -> Address:
        """Where the nodes find this machine."""
        return self._cluster.gpu.host or socket.getfqdn(), listener.address[1]

    def start(self, name: Name, place: Place, address: Address, key: bytes) -> ReplicaTask:
        """Start a replica."""
        start = {"address": address, "key": key.hex(), "name": name, "parent": None, "cores": ()}
        label = f"replica-{name[0]}-{name[1]}"
        path = self.folder / f"start-{label}.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(start) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return ReplicaTask(self._tasks.start(label, ["-c", CODE], place.num_gpus, path))

    def close(self, *, keeps_logs: bool) -> None:
        """End all tasks. Of the folder at most the logs stay."""
        for path in self.folder.glob("start-*.json"):
            path.unlink()
        self._tasks.close(keeps_logs=keeps_logs)


class ReplicaTask:
    """A replica on a node."""

    pid = None

    def __init__(self, task: Task) -> None:
        self._task = task
        self.log: Path = task.log

    @property
    def is_waiting(self) -> bool:
        return self._task.is_waiting

    @property
    def was_taken(self) -> bool:
        return self._task.was_taken

    def has_ended(self) -> bool:
        return self._task.has_ended()

    def look(self) -> None:
        """Nothing: what was stopped on a node, its cluster sees."""

    def kill(self) -> None:
        """End the replica. If it had a last word, it has said it."""
        self._task.kill()

    def wait(self, seconds: float) -> None:
        self._task.wait(seconds)

    def tail(self) -> str:
        return self._task.tail()

    def ending(self) -> str:
        return self._task.ending()
