"""Folders that appear whole or not at all, and what killed writes left behind.

    part-00000.parquet.1a2b3c4d.tmp     a file while it was written
    .instructions.1a2b3c4d.tmp/         a folder while it was written, or an old one on its way out
    instructions.replaced-1a2b3c4d/     an old folder, while the new one took its place
    .coder-1a2b3c4d.partial/            a model while it was trained
    .coder-1a2b3c4d.run/                the logs of the processes that trained it
    .coder-1a2b3c4d.node/               what a training on another machine says

In: a target. Out: a folder beside it, to be renamed to the target when it is whole. Or in: a
folder; out: the paths of what is left over in it. What is left over is not removed here.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from store import markers

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_REPLACED = re.compile(r"(.+)\.replaced-[0-9a-f]{8}")


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A new folder beside the target. After the block it is gone, or stands at the target.

    It is locked as long as this process lives, so that nobody takes it for a leftover.
    """
    working = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    working.mkdir(parents=True)
    descriptor = os.open(working, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield working
    finally:
        shutil.rmtree(working, ignore_errors=True)
        os.close(descriptor)


def folders(folder: Path, name: str | None = None) -> list[Path]:
    """The folders that killed replacements left in a folder, of one target or of any.

    An old folder counts only if it is ours and unchanged and its target is there, so that nothing
    is lost with it. A new folder counts only if no living process writes it.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        target = _TEMPORARY.fullmatch(path.name) or _REPLACED.fullmatch(path.name)
        if target is None or path.is_symlink() or not path.is_dir() or name not in (None, target[1]):
            continue
        if path.name.startswith("."):
            is_left = not _is_written(path)
        else:
            is_left = (folder / target[1]).is_dir() and markers.changes(path) == []
        if is_left:
            found.append(path)
    return found


def partial_trainings(folder: Path, building: Collection[str] = ()) -> list[Path]:
    """The folders of trainings that were killed, and of their processes.

    Those stay that go on when the plan is built: `building` has the fingerprints of such plans.
    """
    endings = ("partial", "run", "node") if folder.is_dir() else ()
    found = sorted(path for ending in endings for path in folder.glob(f".*.{ending}"))
    resumed = {fingerprint[:8] for fingerprint in building}
    return [p for p in found if p.is_dir() and p.name.rpartition(".")[0].rpartition("-")[2] not in resumed]


def files(folder: Path) -> Iterator[Path]:
    """The temporary files below a folder, whatever it holds."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in sorted(names) if name.endswith(".tmp"))


def _lock(descriptor: int) -> bool:
    """Lock an open folder for as long as this process lives. Whether that could be done."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_written(path: Path) -> bool:
    """Whether a living process writes a folder. If that cannot be told, it counts as written."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)
