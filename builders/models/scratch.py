"""A scratch folder beside a target, and the end of those that killed runs left.

In: the path of a folder that is to be written. Out: an empty folder beside it, for a while. Its
process holds a lock in it, and a lock ends with the process that holds it, however that ends.

    with beside(Path("smollm2"), print) as scratch:
        scratch.path                              # .smollm2.k3j9x_2a
        subprocess.run(command, pass_fds=scratch.held)    # as long as this runs, it is alive, too
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store import Announce

LOCK = "scoder-model.lock"


@dataclass(frozen=True)
class Scratch:
    """A scratch folder. A process that is given `held` keeps it alive."""

    path: Path
    held: tuple[int, ...]


@contextmanager
def beside(target: Path, announce: Announce) -> Iterator[Scratch]:
    """A scratch folder of the target, which is removed at the end with all that is in it."""
    remove_dead(target, announce)
    path, lock = _locked(target)
    try:
        yield Scratch(path, (lock,))
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_dead(target: Path, announce: Announce) -> None:
    """Remove the scratch folders of a target whose processes have ended, and say so."""
    own = re.compile(re.escape(f".{target.name}.") + r"[^.]{8}")
    folder = target.absolute().parent
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if own.fullmatch(path.name) and _removed_if_dead(path):
            announce(f"{path.name}, which a killed run had left beside {target}, is removed")


def _removed_if_dead(path: Path) -> bool:
    try:
        with (path / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    except OSError:  # not one of ours, or its process lives, or another run removes it right now
        return False
    return True


def _locked(target: Path) -> tuple[Path, int]:
    """A new scratch folder and its lock, which is held.

    Between the making of the lock and its holding, another run can find it free and remove the
    folder. Then this one makes another.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            return path, lock  # a file system without locks: there, nobody finds it free either
        if (path / LOCK).exists():
            return path, lock
        os.close(lock)
