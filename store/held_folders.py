"""Temporary folders that go with their process, however it ends.

In: where a folder is to be, and how its name begins. Out: a folder for a while, empty but for a
lock, which its process holds. A lock ends with the process that holds it, so whoever comes next can
tell which folders a killed process has left, and removes them.

    with temporary("lint") as folder:
        (folder / "0.py").write_text(code)    # /tmp/scoder-lint-k3j9x_2a/0.py
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

LOCK = ".scoder-lock"
"""The file in a folder that its process has locked. A folder without it is to be kept."""
PREFIX = "scoder-"


class HeldFolder:
    """A new folder, and the lock in it. A process that inherits `descriptor` holds it as well."""

    def __init__(self, parent: Path, prefix: str) -> None:
        self.path, self.descriptor = _locked(parent, prefix)

    def close(self, *, keeps: bool = False) -> None:
        """Remove the folder. One that is kept is nobody's any more, and nobody removes it."""
        if keeps:
            (self.path / LOCK).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.descriptor)


def temporary_folder(what: str, parent: str | None = None) -> HeldFolder:
    """A folder among the temporary files of this machine, until it is closed."""
    place = Path(parent or tempfile.gettempdir())
    _remove_dead(place)
    return HeldFolder(place, f"{PREFIX}{what}-")


@contextmanager
def temporary(what: str) -> Iterator[Path]:
    """The same for a block."""
    folder = temporary_folder(what)
    try:
        yield folder.path
    finally:
        folder.close()


def removed_if_dead(path: Path) -> bool:
    """Remove a folder if its process has ended. Whether it was so."""
    try:
        with (path / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    except OSError:  # not one of ours, or its process lives, or another one removes it right now
        return False
    return True


@cache
def _remove_dead(place: Path) -> None:
    """Remove what killed processes have left there. Each process looks once."""
    for path in sorted(place.glob(f"{PREFIX}*")):
        removed_if_dead(path)


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder and its lock, which is held.

    Between the making of the lock and its holding, another process can find it free and remove the
    folder. Then this one makes another.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            return path, lock  # a file system without locks: there, nobody finds it free either
        if (path / LOCK).exists():
            return path, lock
        os.close(lock)
