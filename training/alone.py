"""One training at a time for an output: two would write over each other.

In: the output. Out: a lock beside it, which is gone when its owner ends, however that is.

    with alone(Path("out")):
        ...
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import TrainingError


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Hold the output inside this block. TrainingError if another process holds it."""
    path = output.with_name(f".{output.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, output)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, output: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise TrainingError(
                f"another process trains into {output} right now: wait for it, or choose another output"
            ) from None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # its owner has just removed it


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
