"""Where replicas run and how they find their coordinator: here, as processes of this machine.

In: a place for each replica. Out: its process, and the folder of the logs. On a cluster it is
`builders/engines/replica_tasks.py`.
"""

from __future__ import annotations

import sys
import uuid
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Protocol

from builders.engines.messages import Address, Name
from builders.engines.places import Place
from builders.engines.replica_process import ReplicaProcess
from store.held_folders import temporary_folder


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

    def tail(self) -> str: ...

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
    """This machine. Replicas connect through a socket that has a name, but no file: the path of a
    file may be too long for one, as below a long TMPDIR, and a killed process would leave it.

    If this process is killed, the next one removes the folder of the logs.
    """

    def __init__(self) -> None:
        self._held = temporary_folder("replicas")
        self.folder = self._held.path
        # Only Linux has such names. Elsewhere it is a port, which nobody reaches from outside.
        self.listens_at: Address = f"\0scoder-{uuid.uuid4().hex}" if sys.platform == "linux" else ("127.0.0.1", 0)

    def address_of(self, listener: Listener) -> Address:
        """Where replicas find the coordinator."""
        return self.listens_at if isinstance(self.listens_at, str) else listener.address

    def start(self, name: Name, place: Place, address: Address, key: bytes) -> ReplicaProcess:
        """Start a replica."""
        return ReplicaProcess(name, place, address, key, self.folder / f"replica-{name[0]}.log")

    def close(self, *, keeps_logs: bool) -> None:
        """Remove the folder, unless the logs in it are to be kept."""
        self._held.close(keeps=keeps_logs)
