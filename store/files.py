"""Files that appear whole or not at all, through fsspec so that object stores can follow.

In: a file system, a path, bytes. Out: the file. A killed writer leaves at most a `*.tmp` file, which nothing reads.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from store.errors import ContractError


def open_root(path: str | Path) -> tuple[AbstractFileSystem, str]:
    """The file system of a store and its root as an absolute path; only local stores are supported so far."""
    try:
        fs, root = url_to_fs(str(path))
    except (ImportError, ValueError) as error:
        raise ContractError(
            f"store {path!s}: {error}; only local paths are supported so far; give a directory"
        ) from None
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        raise ContractError(f"store {path!s}: only local paths are supported so far; give a directory")
    return fs, root


def check_local(path: str | Path) -> None:
    """Refuse an address such as `hf://…` or `s3://…` where a file or folder is written."""
    if "://" in str(path):
        raise ContractError(f"cannot write to {path}: only local paths can be written so far; give a path here")


def write_atomic(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write `data` to `path`: temporary file beside it, fsync, rename."""
    parent = os.path.dirname(path)
    fs.makedirs(parent, exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    with fs.open(temporary, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    _sync_directory(parent)


def _sync_directory(path: str) -> None:
    """Make a rename durable: the directory entry itself must reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(fs: AbstractFileSystem, path: str) -> bytes:
    """The whole file."""
    return fs.cat_file(path)


def names(fs: AbstractFileSystem, directory: str, suffix: str) -> list[str]:
    """Sorted file names with a suffix in one directory; an absent directory has none."""
    if not fs.isdir(directory):
        return []
    return sorted(os.path.basename(p) for p in fs.ls(directory, detail=False) if p.endswith(suffix))
