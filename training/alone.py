"""One training at a time for an output: two would write over each other.

In: the output. Out: `.out.run/` beside it, held by this process, for its job and its logs. It is
gone with the block, unless the logs are to be kept.

    with alone(Path("out")) as held:
        (held.run / "job.json").write_text(...)
        held.keeps_logs = True

The lock in it belongs to a process, not to a file: if its owner ends, however that is, the next one
takes the folder over.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.resuming import remove

LOCK = "lock"


@dataclass
class Held:
    """The folder of a training that is held, and whether it stays."""

    run: Path
    keeps_logs: bool = False

    def empty(self) -> None:
        """Remove what an attempt before left in it."""
        for path in self.run.iterdir():
            if path.name != LOCK:
                remove(path)


@contextmanager
def alone(output: Path) -> Iterator[Held]:
    """Hold the output inside this block. TrainingError if another process holds it."""
    held = Held(output.with_name(f".{output.name}.run"))
    descriptor = _locked(held.run, output)
    try:
        held.empty()
        yield held
    finally:
        if not held.keeps_logs:
            held.empty()
        # From here on another process may take the folder, and then it stays.
        (held.run / LOCK).unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            held.run.rmdir()


def _locked(run: Path, output: Path) -> int:
    while True:
        run.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # its owner has just removed the folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise TrainingError(
                f"another process trains into {output} right now: wait for it, or choose another output"
            ) from None
        if _is_at(descriptor, run / LOCK):
            return descriptor
        os.close(descriptor)  # its owner has just removed it


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
