"""Source files of directories: a tree, the standard library, or installed packages.

In: a `Source` and a shard. Out: its `.py` files, in the order of their paths. Each has the licence
that its place tells (`license_places`), and files of installed packages have the name of their
package. Links are not followed, and only plain files are listed.

The listing also notes the files that tell licences. Their texts are part of its fingerprint, and no
other file is read to find a licence.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from builders.recipe import Source
from builders.sources.files import MAX_FILE_BYTES, License, Shard, SourceFile, content_of, decoded, file_of
from builders.sources.license_places import Places, is_notice, is_vendored, most_bytes
from builders.sources.license_rules import chosen
from store.errors import InputError, MissingError


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of a tree, and what tells one listing from another."""
    root = tree_root(source)
    paths, notices = _listed(source)
    if not paths:
        raise InputError(f"source {source.name!r}: no .py files under {root}. Check its `path` and `exclude`.")
    size = source.files_per_shard
    found = [Shard(str(root), tuple(paths[at : at + size]), notices=notices) for at in range(0, len(paths), size)]
    identity: list[Any] = [(p, content_of(root / p)) for p in paths]
    return found, identity + [(p, content_of(root / p)) for p in notices if not p.endswith(".git")]


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard."""
    root = Path(shard.file)
    declared = source.license or ("PSF-2.0" if source.kind == "stdlib" else None)
    places = _places(shard.file, shard.notices, tuple(_stamp(shard.file, name) for name in shard.notices))
    for path in shard.paths:
        repo, found = places.of(path)
        is_whole = found is not None and found.folder == "" and not found.is_installed
        told = chosen(found.license if found else None, declared, is_whole=is_whole, is_vendored=is_vendored(path))
        yield _read(root, path, repo, told)


@lru_cache(maxsize=2)
def _places(root: str, notices: tuple[str, ...], stamps: tuple[tuple[int, int], ...]) -> Places:
    """The argument `stamps` is part of the cache key: all shards of a tree read a notice once."""
    return Places(notices, partial(_notice, root))


def _stamp(root: str, name: str) -> tuple[int, int]:
    try:
        found = os.stat(os.path.join(root, name))
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _notice(root: str, name: str) -> bytes | None:
    """The bytes of a file that tells licences; None for one that cannot be read."""
    try:
        with open(os.path.join(root, name), "rb") as handle:
            return handle.read(most_bytes(name))
    except OSError:
        return None


def tree_root(source: Source) -> Path:
    """The directory of a tree. MissingError when it does not exist."""
    installed = sysconfig.get_paths()
    known = {"stdlib": installed["stdlib"], "packages": source.path or installed["purelib"]}
    root = Path(known.get(source.kind, source.path or ""))
    if not root.is_dir():
        raise MissingError(f"source {source.name!r}: no directory {root}. Check `path` of this source in the recipe.")
    return root


def tree_paths(source: Source) -> list[str]:
    """The paths of a tree's `.py` files, relative to its root and sorted; at most `max_files`."""
    return _listed(source)[0]


def _listed(source: Source) -> tuple[list[str], tuple[str, ...]]:
    """The paths of a tree's `.py` files, and of its files that tell licences, both sorted."""
    root = tree_root(source)
    excluded = (*source.exclude, "site-packages") if source.kind == "stdlib" else source.exclude
    paths, notices = [], []
    for folder, folders, names in os.walk(root, followlinks=False):
        inside = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        if inside and (".git" in folders or ".git" in names):
            notices.append(f"{inside}.git")
        folders[:] = sorted(f for f in folders if f != ".git" and not f"{inside}{f}/".startswith(excluded))
        for name in names:
            path = os.path.join(folder, name)
            is_code = name.endswith(".py")
            if not is_code and (name == ".git" or not is_notice(f"{inside}{name}")):
                continue
            # a pipe or socket named like a source file would block whoever reads it
            if os.path.isfile(path) and not os.path.islink(path):
                if not is_code:
                    notices.append(f"{inside}{name}")
                elif not f"{inside}{name}".startswith(excluded):
                    paths.append(f"{inside}{name}")
    return sorted(paths)[: source.max_files], tuple(sorted(notices))


def _read(root: Path, path: str, repo: str | None, license_: License) -> SourceFile:
    try:
        with open(root / path, "rb") as handle:
            # one byte above the limit shows that a file is too large, even if it just grew
            data = handle.read(MAX_FILE_BYTES + 1)
    except OSError:
        return file_of(path, None, repo, license_, "unreadable")
    return decoded(path, data, repo, license_)
