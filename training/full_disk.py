"""Whether an error means that a disk is full, and what is said then.

In: an error, and a folder that was written to. Out: words for people.

    if is_full_disk(error, Path("out")):
        told(Path("out"))    # "no space left on the disk /data, where out is: ..."
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

ERRNOS = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("No space left on device", "Disk quota exceeded")
TORCH = ("PytorchStreamWriter", "inline_container.cc", "iostream error")
"""Words of torch where it could not write, which do not say why."""
NO_ROOM = 64 * 2**20
"""Bytes under which a disk is taken to be full, if torch could not write to it."""


def is_full_disk(error: BaseException, folder: Path) -> bool:
    """Whether the error, or one that it came from, is a full disk or a used quota."""
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "errno", None) in ERRNOS or any(words in str(found) for words in WORDS):
            return True
        if any(words in str(found) for words in TORCH) and shutil.disk_usage(_there(folder)).free < NO_ROOM:
            return True
        found = found.__cause__ or found.__context__
    return False


def told(folder: Path) -> str:
    """What is said of a full disk."""
    disk = _there(folder)
    while not os.path.ismount(disk):
        disk = disk.parent
    usage = shutil.disk_usage(disk)
    return (
        f"no space left on the disk {disk}, where {folder} is ({usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are "
        "free, or your quota is used): make room, or choose an output on another disk"
    )


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
