"""Where replicas run and how they find their coordinator: here, as processes of this machine.

In: a place for each replica. Out: its process, and the folder of the logs. On a cluster it is
`builders/engines/replica_tasks.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Protocol

from builders.engines.places import Place
from builders.engines.replica import Address, Name
from builders.engines.replica_process import ReplicaProcess


class Started(Protocol):
    """A replica that was started, wherever it runs. See `ReplicaProcess`."""

    @property
    def log(self) -> Path: ...

    @property
    def pid(self) -> int | None: ...

    @property
    def is_waiting(self) -> bool: ...

    @property
    def was_taken(self) -> bool: ...

    def has_ended(self) -> bool: ...

    def look(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, seconds: float) -> None: ...

    def ending(self) -> str: ...


class Ground(Protocol):
    """Where replicas run."""

    @property
    def folder(self) -> Path: ...

    @property
    def listens_at(self) -> Address: ...

    def address_of(self, listener: Listener) -> Address: ...

    def start(self, name: Name, place: Place, address: Address, key: bytes) -> Started: ...

    def close(self, *, keeps_logs: bool) -> None: ...


class Here:
    """This machine: replicas connect through a socket in a folder that only this user can enter."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scoder-replicas-"))
        self.listens_at = str(self.folder / "socket")

    def address_of(self, listener: Listener) -> Address:
        """Where replicas find the coordinator."""
        return self.listens_at

    def start(self, name: Name, place: Place, address: Address, key: bytes) -> ReplicaProcess:
        """Start a replica."""
        assert isinstance(address, str)
        return ReplicaProcess(name, place, address, key, self.folder / f"replica-{name[0]}.log")

    def close(self, *, keeps_logs: bool) -> None:
        """Remove the folder, unless the logs in it are to be kept."""
        if not keeps_logs:
            shutil.rmtree(self.folder, ignore_errors=True)
