"""Write files that appear whole or not at all.

In: a file system, a path, bytes. Out: the file. A killed writer leaves at most a `*.tmp` file,
which nothing reads. The file system is fsspec's, so that object stores can be added later.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from store.errors import ContractError, InputError

NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES}
"""What `os.link` answers where links cannot be made: another disk, FAT, some network systems, or
too many links already."""

_LOCAL = LocalFileSystem()


def open_root(path: str | Path) -> tuple[AbstractFileSystem, str]:
    """The file system of a store, and its root as an absolute path.

    A store is a local directory.
    """
    try:
        fs, root = url_to_fs(str(path))
    except (ImportError, ValueError) as error:
        raise ContractError(f"a store must be a local directory, got {path!s} ({error})") from None
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        raise ContractError(f"a store must be a local directory, got {path!s}")
    check_local(root)
    return fs, root


def check_local(path: str | Path) -> None:
    """Refuse what cannot be written to: an address such as `hf://…`, or a path below a file."""
    if "://" in str(path):
        raise ContractError(f"cannot write to {path}: only a path on this machine can be written")
    whole = Path(path).absolute()
    there = next((place for place in whole.parents if place.exists()), whole)  # `/` has no parents
    if not there.is_dir():
        raise ContractError(f"cannot write to {path}: {there} is a file, not a folder")


def check_output(path: str | Path) -> None:
    """Refuse what a user must not write to: see `check_local`, and whatever lies in a store."""
    check_local(path)
    place = Path(os.path.realpath(path))
    for folder in (place, *place.parents):
        if (folder / "_runs").is_dir():
            raise ContractError(f"cannot write to {path}: it lies in the store {folder}. Give a place outside of it")


def check_folder(path: str | Path) -> None:
    """Refuse, before any work, a folder that is a file, or that nobody here may write to."""
    check_output(path)
    whole = Path(path).absolute()
    if whole.exists() and not whole.is_dir():
        raise InputError(f"cannot write to {path}: it is a file, and a folder is needed. Give another name")
    there = next(place for place in (whole, *whole.parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {path}: {there} may not be written to. Give another place, or the right")


def make_folder(path: str | Path) -> None:
    """Make a folder with its parents. InputError if it cannot be, or may not be written to."""
    check_folder(path)
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {path} cannot be made ({error.strerror}): give another place") from None


def write_atomic(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, sync it to disk, and rename it to `path`."""
    parent = os.path.dirname(path)
    fs.makedirs(parent, exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with fs.open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(parent)


def link_or_copy(source: str, target: str) -> None:
    """A hard link, or a copy where the file system has no links. The target must not exist."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        shutil.copyfile(source, temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)


def private(path: str, flags: int) -> int:
    """An opener for `open`: only the user may read the file, whatever the umask allows.

    For what holds prompts, answers or keys. A file of an earlier run is closed to others, too.
    """
    descriptor = os.open(path, flags, 0o600)
    with suppress(PermissionError):  # another user's file, which only its owner can close
        os.fchmod(descriptor, 0o600)
    return descriptor


def write_text(path: str | Path, text: str) -> None:
    """`write_atomic` of a text to a path of this machine."""
    write_atomic(_LOCAL, str(Path(path).absolute()), text.encode())


def sync_directory(path: str) -> None:
    """Make a rename survive a power failure: its directory entry must reach the disk, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(fs: AbstractFileSystem, path: str) -> bytes:
    """The whole file."""
    return fs.cat_file(path)


def names(fs: AbstractFileSystem, directory: str, suffix: str) -> list[str]:
    """The sorted names of the files with a suffix in a directory; none if it does not exist."""
    if not fs.isdir(directory):
        return []
    return sorted(os.path.basename(p) for p in fs.ls(directory, detail=False) if p.endswith(suffix))
