"""One coordinator per store: a lock file with an owner, a heartbeat and detection of dead owners.

Workers watch the same file and stop with the coordinator that started them. On its host they look at its process. On other
hosts they watch whether its heartbeat still moves, against their own clock: clocks of machines differ, and none is asked
for the time of another. A coordinator that lost its lock (its machine slept, or its file system was away, for so long that
another took over) ends at its next heartbeat; whatever it wrote in between is whole and names its plan.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import ContractError

Owner = dict[str, str]
"""Who holds a lock: `host`, `pid` and `started`, the start time of the process."""

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""An owner on another host whose heartbeat is older than this is taken for dead."""

STOPPED = 75
"""Exit code of a process that stopped because the store is not, or no longer, its coordinator's."""


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks, which tells a reused pid from the owner; None when it is gone."""
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
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        # a lock is written in one go: half of one was left by a machine that died
        return {"host": "unknown", "pid": "0", "started": "?"}


def coordinator_alive(store: str | Path) -> bool:
    """Whether the store has an owner that lives."""
    path = _lock_of(store)
    held_by = _read(path)
    try:
        return held_by is not None and _is_alive(held_by, path, time.time())
    except FileNotFoundError:
        return False


@contextmanager
def coordinator(store: str | Path) -> Iterator[None]:
    """Own the store for the length of a block; a ContractError names the owner when another one lives."""
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
    mine = path.with_name(f"lock.{os.getpid()}.tmp")
    mine.write_text(json.dumps(me))
    try:
        # one at a time: without this, the second of two finders of a dead lock buries the first one's new lock
        with path.with_name("lock.guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            # the file system's own time, by a file that was just written: this machine's clock may be wrong
            _refuse_or_bury(path, now=mine.stat().st_mtime)
            os.link(mine, path)  # appears whole, and only if nobody holds it
        return me
    finally:
        mine.unlink(missing_ok=True)


def _refuse_or_bury(path: Path, now: float) -> None:
    try:
        held_by = _read(path)
        if held_by is not None and _is_alive(held_by, path, now):
            raise ContractError(
                f"{path.parent.parent} is in use by process {held_by['pid']} on {held_by['host']}. "
                "Wait for it, or stop it; its work is resumed by the next run."
            )
    except FileNotFoundError:
        return  # released while we looked
    path.unlink(missing_ok=True)


def _heartbeat(path: Path, me: Owner, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        try:
            if _read(path) != me:
                # no exception: it would reach the main thread only after more had been written
                print(f"scoder: {path} is no longer ours; stopping, so that two never write", file=sys.stderr)
                sys.stderr.flush()
                os._exit(STOPPED)
            os.utime(path)
        except OSError:
            continue  # a file system that is away: who takes over waits for STALE_S


class _Watch:
    """A worker's look at the coordinator that started it."""

    def __init__(self, path: Path, started_by: Owner | None) -> None:
        self.path, self.owner = path, started_by
        self.beat, self.since = 0, time.monotonic()

    def sees_it(self) -> bool:
        """Whether the lock is still that coordinator's and its process runs or its heartbeat moves."""
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
            pass  # a file system that is away counts as a heartbeat that stands still
        return time.monotonic() - self.since < STALE_S


def is_held_by(store: str | Path, who: Owner | None) -> bool:
    """Whether that coordinator still holds the lock; one that is dead may."""
    return who is not None and owner(store) == who


def stop_with_coordinator(store: str | Path, started_by: Owner | None = None) -> None:
    """For workers: a thread that ends this process as soon as its coordinator (default: the store's present one) is gone.

    A worker that starts too late ends here. One on another host cannot tell a lock that was left by a dead coordinator
    from one whose heartbeat is due, and works until STALE_S have passed without any.
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
