"""The lock of a store: only one coordinator builds in it at a time.

The lock is a file that names its owner. The owner touches it every few seconds; that is its
heartbeat. A new coordinator takes over the lock of a dead one, and is refused while the owner
lives.

Workers watch the same file, and stop when the coordinator that started them is gone. On its host
they look at its process. On other hosts they watch whether its heartbeat still moves. They measure
this with their own clock, because the clocks of machines differ.

A coordinator can lose its lock: its machine slept, or its file system was away, and another one
took over. Then it ends at its next heartbeat. What it wrote in between does no harm: each file is
whole and names its plan.

    with coordinator("store-data"):
        scoder.run(store, recipe)
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import ContractError

Owner = dict[str, str]
"""Who holds a lock: `host`, `pid` and `started`, the start time of the process."""

DAMAGED: Owner = {"host": "unknown", "pid": "0", "started": "?"}
"""The owner of a lock that cannot be read. A lock is written in one go, so a disk or a machine
failed. Whoever held it lives elsewhere, if at all: the lock counts for STALE_S after its last
heartbeat."""

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""An owner on another host counts as dead when its heartbeat is older than this."""

STOPPED = 75
"""The exit code of a process that stopped because its coordinator lost the lock or is gone."""


def _started(pid: int) -> str | None:
    """The start time of a process in clock ticks, None when it is gone.

    It tells the owner from a later process that got the same pid.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    except OSError:
        return "unknown"
    return None if fields[0] == "Z" else fields[19]


def _is_near(owner: Owner) -> bool:
    """Whether the owner's process can be looked at from here."""
    return owner["host"] == socket.gethostname() and Path("/proc/self/stat").exists()


def _runs(owner: Owner) -> bool:
    return _started(int(owner["pid"])) == owner["started"]


def _is_alive(owner: Owner, path: Path, now: float) -> bool:
    return _runs(owner) if _is_near(owner) else now - path.stat().st_mtime < STALE_S


def _lock_of(store: str | Path) -> Path:
    return Path(store) / "_runs" / "lock.json"


def owner(store: str | Path) -> Owner | None:
    """Who holds the lock of a store, dead or alive; None when nobody does."""
    return _read(_lock_of(store))


def _read(path: Path) -> Owner | None:
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return DAMAGED
    is_owner = isinstance(said, dict) and said.keys() == DAMAGED.keys()
    if not is_owner or not all(isinstance(v, str) for v in said.values()) or not said["pid"].isdecimal():
        return DAMAGED
    return said


def coordinator_alive(store: str | Path) -> bool:
    """Whether the lock of a store has an owner, and the owner lives."""
    path = _lock_of(store)
    held_by = _read(path)
    try:
        return held_by is not None and _is_alive(held_by, path, time.time())
    except FileNotFoundError:
        return False


@contextmanager
def coordinator(store: str | Path) -> Iterator[None]:
    """Hold the lock of a store while a block runs.

    Raises ContractError, which names the owner, when another coordinator holds it and lives.

    Example:
        with coordinator("store-data"):
            scoder.run(store, recipe)
    """
    path = _lock_of(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    me = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(path, me, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> Owner:
    me = {"host": socket.gethostname(), "pid": str(os.getpid()), "started": _started(os.getpid()) or "unknown"}
    mine = path.with_name(f"lock.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with mine.open("w") as file:
            file.write(json.dumps(me))
            file.flush()
            os.fsync(file.fileno())
        # Two processes can find the same dead lock. They look one after the other, so that the
        # second one does not remove the new lock of the first.
        with path.with_name("lock.guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            # A file that was just written tells the file system's time. Our clock may be wrong.
            _refuse_or_bury(path, now=mine.stat().st_mtime)
            os.link(mine, path)  # the lock appears whole, or this fails because somebody holds it
        return me
    finally:
        mine.unlink(missing_ok=True)


def _refuse_or_bury(path: Path, now: float) -> None:
    try:
        held_by = _read(path)
        if held_by == DAMAGED and _is_alive(DAMAGED, path, now):
            raise ContractError(
                f"{path} is damaged, so nobody can tell who uses {path.parent.parent}. If no run is alive, remove it, "
                f"or wait: it is taken over {STALE_S:.0f} seconds after it was written"
            )
        if held_by is not None and _is_alive(held_by, path, now):
            raise ContractError(
                f"{path.parent.parent} is in use by process {held_by['pid']} on {held_by['host']}. "
                "Wait until it ends, or stop it: the next run goes on where it stopped"
            )
    except FileNotFoundError:
        return  # released while we looked
    path.unlink(missing_ok=True)


def _heartbeat(path: Path, me: Owner, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        try:
            if _read(path) != me:
                # An exception would reach the main thread only after it had written more.
                print(
                    f"scoder: another process took over {path}. This one stops, so that two never write at once",
                    file=sys.stderr,
                )
                sys.stderr.flush()
                os._exit(STOPPED)
            os.utime(path)
        except OSError:
            continue  # the file system is away; nobody takes over before STALE_S have passed


class _Watch:
    """A worker's look at the coordinator that started it."""

    def __init__(self, path: Path, started_by: Owner | None) -> None:
        self.path, self.owner = path, started_by
        self.beat, self.since = 0, time.monotonic()

    def sees_it(self) -> bool:
        """Whether that coordinator holds the lock, and its process runs or its heartbeat moves."""
        try:
            if self.owner is None or _read(self.path) != self.owner:
                return False
            if _is_near(self.owner):
                return _runs(self.owner)
            beat = self.path.stat().st_mtime_ns
            if beat != self.beat:
                self.beat, self.since = beat, time.monotonic()
        except FileNotFoundError:
            return False
        except OSError:
            pass  # the file system is away: this counts as a heartbeat that does not move
        return time.monotonic() - self.since < STALE_S


def is_held_by(store: str | Path, who: Owner | None) -> bool:
    """Whether that coordinator still holds the lock. A dead one may, until another takes over."""
    return who is not None and owner(store) == who


def stop_with_coordinator(store: str | Path, started_by: Owner | None = None) -> None:
    """Let a worker end as soon as its coordinator is gone: a thread watches the lock from now on.

    `started_by` is the coordinator; without it, the present owner of the store. If the coordinator
    is gone already, the process ends at once. On another host a worker cannot see whether the
    coordinator died: it works on until STALE_S have passed without a heartbeat.
    """
    path = _lock_of(store)
    watch = _Watch(path, started_by or _read(path))

    def look() -> None:
        while watch.sees_it():
            time.sleep(1.0)
        os._exit(STOPPED)

    if not watch.sees_it():
        os._exit(STOPPED)
    threading.Thread(target=look, daemon=True).start()
