"""Source files of directories: a tree, the standard library, installed packages with the licence of each.

In: a `Source`, a shard. Out: its `.py` files in the order of their paths. Links are not followed; what is no plain file is not
listed.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from email.message import Message
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, cast

from builders.recipe import Source
from builders.sources import licenses
from builders.sources.files import MAX_FILE_BYTES, Shard, SourceFile, content_of, decoded, printable
from store.errors import InputError, MissingError

Origin = tuple[str, str]
"""Name with version, and licence, of a distribution."""


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of a tree and what they are told apart by."""
    root = tree_root(source)
    paths = tree_paths(source)
    if not paths:
        raise InputError(f"source {source.name!r}: no .py files under {root}")
    size = source.files_per_shard
    found = [Shard(str(root), paths=tuple(paths[at : at + size])) for at in range(0, len(paths), size)]
    identity: list[Any] = [(p, content_of(root / p)) for p in paths]
    if source.kind == "packages":
        identity.append(sorted(set(origins(str(root)).values())))
    return found, identity


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard."""
    default = source.license or ("PSF-2.0" if source.kind == "stdlib" else "unknown")
    known = origins(shard.file) if source.kind == "packages" else {}
    for path in shard.paths:
        repo, license_ = known.get(path, (None, default))
        yield _read(Path(shard.file), path, repo, default if license_ == "unknown" else license_)


def tree_root(source: Source) -> Path:
    """The directory of a tree."""
    installed = sysconfig.get_paths()
    known = {"stdlib": installed["stdlib"], "packages": source.path or installed["purelib"]}
    root = Path(known.get(source.kind, source.path or ""))
    if not root.is_dir():
        raise MissingError(f"source {source.name!r}: no directory {root}")
    return root


def tree_paths(source: Source) -> list[str]:
    """Relative paths of the `.py` files of a tree, sorted."""
    root = tree_root(source)
    excluded = (*source.exclude, "site-packages") if source.kind == "stdlib" else source.exclude
    paths = []
    for folder, folders, names in os.walk(root, followlinks=False):
        inside = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        folders[:] = sorted(f for f in folders if not f"{inside}{f}/".startswith(excluded))
        for name in names:
            path = os.path.join(folder, name)
            # a pipe or a socket with the name of a source file would block its reader
            is_plain = name.endswith(".py") and os.path.isfile(path) and not os.path.islink(path)
            if is_plain and not f"{inside}{name}".startswith(excluded):
                paths.append(f"{inside}{name}")
    return sorted(paths)[: source.max_files]


@lru_cache(maxsize=8)
def origins(root: str) -> dict[str, Origin]:
    """Which distribution each file under a folder of installed packages came with, by their own records."""
    found: dict[str, Origin] = {}
    for package in distributions(path=[root]):
        if package.metadata is None or not package.files:
            continue
        metadata = cast(Message, package.metadata)  # its protocol leaves out `get` in Python 3.11
        origin = printable(f"{metadata.get('Name')}=={metadata.get('Version')}"), licenses.of_metadata(metadata)
        found |= {str(p): origin for p in package.files if p.suffix == ".py"}
    return found


def _read(root: Path, path: str, repo: str | None, license_: str) -> SourceFile:
    try:
        with open(root / path, "rb") as handle:
            # at most one byte too many, whatever its size was a moment ago
            data = handle.read(MAX_FILE_BYTES + 1)
    except OSError:
        return SourceFile(printable(path), None, repo, license_, "unreadable")
    return decoded(path, data, repo, license_)
