"""One coordinator per store: a lock file with an owner, a heartbeat and detection of dead owners.

Workers watch the same file: `coordinator_alive` turns false when their coordinator died, and they stop.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import ContractError

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""An owner on another host whose heartbeat is older than this is taken for dead."""


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks, which tells a reused pid from the owner; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    except OSError:
        return "unknown"
    return None if fields[0] == "Z" else fields[19]


def _is_alive(owner: dict[str, str], path: Path) -> bool:
    if owner["host"] != socket.gethostname():
        return time.time() - path.stat().st_mtime < STALE_S
    if not Path("/proc/self/stat").exists():
        return time.time() - path.stat().st_mtime < STALE_S
    return _started(int(owner["pid"])) == owner["started"]


def _read(path: Path) -> dict[str, str] | None:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        # a lock is written in one go: half of one was left by a machine that died
        return {"host": "unknown", "pid": "0", "started": "?"}


def coordinator_alive(store: str | Path) -> bool:
    """Whether the store has an owner that lives."""
    path = Path(store) / "_runs" / "lock.json"
    owner = _read(path)
    try:
        return owner is not None and _is_alive(owner, path)
    except FileNotFoundError:
        return False


@contextmanager
def coordinator(store: str | Path) -> Iterator[None]:
    """Own the store for the length of a block; a ContractError names the owner when another one lives."""
    path = Path(store) / "_runs" / "lock.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    me = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> dict[str, str]:
    me = {"host": socket.gethostname(), "pid": str(os.getpid()), "started": _started(os.getpid()) or "unknown"}
    mine = path.with_name(f"lock.{os.getpid()}.tmp")
    mine.write_text(json.dumps(me))
    try:
        # one at a time: without this, the second of two finders of a dead lock buries the first one's new lock
        with path.with_name("lock.guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            _refuse_or_bury(path)
            os.link(mine, path)  # appears whole, and only if nobody holds it
        return me
    finally:
        mine.unlink(missing_ok=True)


def _refuse_or_bury(path: Path) -> None:
    try:
        owner = _read(path)
        if owner is not None and _is_alive(owner, path):
            raise ContractError(
                f"{path.parent.parent} is in use by process {owner['pid']} on {owner['host']}. "
                "Wait for it, or stop it; its work is resumed by the next run."
            )
    except FileNotFoundError:
        return  # released while we looked
    path.unlink(missing_ok=True)


def _heartbeat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def stop_with_coordinator(store: str | Path) -> None:
    """For workers: a thread that ends this process as soon as the store's coordinator is gone."""

    def watch() -> None:
        while coordinator_alive(store):
            time.sleep(1.0)
        os._exit(75)

    threading.Thread(target=watch, daemon=True).start()
