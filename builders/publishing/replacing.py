"""Putting a new folder in the place of one that we published, and never in the place of another.

    out/                      a published folder; its marker says what we wrote into it
    .out.1a2b3c4d.tmp/        the new folder while it is written, or the old one on its way out
    out.replaced-1a2b3c4d/    the old one, where the file system cannot swap folders in one step

In: a target, and the new folder beside it. A target is replaced only if it holds the files that its
marker names, unchanged, and nothing else. Otherwise somebody worked on it, and it is refused.

The two folders are swapped in one step, so the target is never missing. Few file systems cannot do
this: there the target is missing for a moment. A kill in that moment loses neither folder, and the
next call takes the old one back. What a killed call left beside the target is removed, too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import uuid
from pathlib import Path

from store import files, leftovers, markers
from store.errors import ContractError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def refuse_foreign(target: Path) -> None:
    """A ContractError if something stands at the target that is not ours to replace."""
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise ContractError(f"{target} exists and is no folder. Nothing was changed; give another target.")
    if not any(target.iterdir()):
        return
    changes = markers.changes(target)
    if changes is None:
        raise ContractError(
            f"{target} exists and has no marker of ours ({markers.MARKER}): it was made by somebody else, or by an "
            "earlier version of scoder. Nothing was changed. Give another target, or remove the folder yourself."
        )
    if changes:
        raise ContractError(
            f"{target} was changed after it was published: {'; '.join(changes[:5])}. Nothing was changed now. "
            "Give another target, or remove the folder yourself."
        )


def mend(target: Path) -> None:
    """Undo or finish what a killed replacement left.

    The target is back, and nothing lies beside it.
    """
    if not target.parent.is_dir():
        return
    if not os.path.lexists(target):
        _take_back(target)
    for path in leftovers.folders(target.parent, target.name):
        shutil.rmtree(path, ignore_errors=True)


def _take_back(target: Path) -> None:
    """If there is only the old folder, move it back."""
    aside = [p for p in target.parent.iterdir() if p.name.startswith(f"{target.name}.replaced-")]
    for old in sorted(aside, key=lambda p: p.stat().st_mtime, reverse=True):
        if markers.changes(old) == []:
            old.rename(target)
            return


def replace(target: Path, new: Path) -> None:
    """Move the new folder to the target, and remove the old folder.

    A ContractError if somebody changed the old folder meanwhile: then it stays.
    """
    refuse_foreign(target)
    if not os.path.lexists(target):
        new.rename(target)
    elif exchange(new, target):
        shutil.rmtree(new, ignore_errors=True)
    else:
        _replace_in_two_steps(target, new)
    files.sync_directory(str(target.parent))


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step. False where the file system cannot; then nothing has changed.

    This is Linux's renameat2 with RENAME_EXCHANGE. Python has no function for it.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _replace_in_two_steps(target: Path, new: Path) -> None:
    mark = uuid.uuid4().hex[:8]
    old = target.with_name(f"{target.name}.replaced-{mark}")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if not os.path.lexists(target):
            old.rename(target)
        raise
    # Half a folder cannot be told from one that somebody changed. Under this name it is a leftover.
    going = target.with_name(f".{target.name}.{mark}.tmp")
    old.rename(going)
    shutil.rmtree(going, ignore_errors=True)
