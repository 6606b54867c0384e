"""Source files of archives: tar in any compression, zip, wheels and sdists. Nothing is ever unpacked to disk.

In: a `Source`, a shard. Out: the `.py` members, with the name and the licence of the package where the archive says so.
How: a zip is cut into shards by members, a tar is one shard, as it can only be read from its start. Archives may be hostile: a
member is read up to the largest size of a source file, an archive up to `MAX_ARCHIVE_BYTES` unpacked, links and devices are
no files, and the name of a member is text and never a place.
"""

from __future__ import annotations

import bz2
import email
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from builders.recipe import Source
from builders.sources import licenses
from builders.sources.files import MAX_FILE_BYTES, Shard, SourceFile, content_of, cut, decoded, paths_of, printable
from store.errors import InputError

ZIPS = (".zip", ".whl", ".egg")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_ARCHIVE_BYTES = 4_000_000_000
"""What is unpacked of one archive; the largest packages that people publish have a tenth of it."""
MAX_HEADER_BYTES = 1_000_000
"""Between two members of a tar: padding, long names, extended attributes."""
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""What a damaged archive raises, on its way or at once."""
_UNREADABLE = (*_BROKEN, NotImplementedError, RuntimeError)
"""And what a member raises that is encrypted or packed in an unknown way."""


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of all archives and what they are told apart by."""
    found: list[Shard] = []
    left = source.max_files
    paths = paths_of(source, (*ZIPS, *TARS))
    for path, name in paths.items():
        if not path.endswith((*ZIPS, *TARS)):
            raise InputError(f"source {source.name!r}: {path} is no archive; known are {', '.join((*ZIPS, *TARS))}")
        count = _num_members(path, source, left)
        if path.endswith(ZIPS):
            found += [Shard(path, start=a, stop=b, name=name) for a, b in cut(0, count, source.files_per_shard)]
        else:
            found.append(Shard(path, stop=count if left is not None else None, name=name))
        if left is not None:
            left -= count
            if left <= 0:
                break
    return found, [(name, content_of(path)) for path, name in paths.items()]


def _num_members(path: str, source: Source, left: int | None) -> int:
    """How many members are wanted; a tar is read for that only if there is a limit."""
    if left is None and not path.endswith(ZIPS):
        return 0
    try:
        count = len(_zip_infos(path, source)) if path.endswith(ZIPS) else sum(1 for _ in _tar_members(path, source))
    except _BROKEN:
        return 1  # it is given out as broken
    return count if left is None else min(count, left)


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard; a broken archive ends in one that says so."""
    reader = _zip_files if shard.file.endswith(ZIPS) else _tar_files
    repo, license_ = None, source.license or "unknown"
    try:
        repo, license_ = _origin(shard.file, os.stat(shard.file).st_mtime_ns)
        license_ = (source.license or license_) if license_ == "unknown" else license_
        yield from reader(source, shard, repo, license_)
    except _BROKEN:
        yield SourceFile(printable(shard.name or os.path.basename(shard.file)), None, repo, license_, "broken_archive")


def _place(shard: Shard, name: str) -> str:
    return f"{shard.name}/{name}" if shard.name else name


def _is_wanted(name: str, source: Source) -> bool:
    return name.endswith(".py") and not name.startswith(source.exclude or ("\0",))


# -- zip ---------------------------------------------------------------------------------------------------------------


def _zip_infos(path: str, source: Source) -> list[zipfile.ZipInfo]:
    return _wanted_infos(path, os.stat(path).st_mtime_ns, source)


@lru_cache(maxsize=4)
def _wanted_infos(path: str, mtime_ns: int, source: Source) -> list[zipfile.ZipInfo]:
    """The wanted members; of several with one name the last counts, as for every reader of zips."""
    with zipfile.ZipFile(path) as archive:
        infos = {i.filename: i for i in archive.infolist() if not i.is_dir() and _is_wanted(i.filename, source)}
    return [infos[name] for name in sorted(infos)]


def _zip_files(source: Source, shard: Shard, repo: str | None, license_: str) -> Iterator[SourceFile]:
    infos = _zip_infos(shard.file, source)
    budget = MAX_ARCHIVE_BYTES - sum(min(i.file_size, MAX_FILE_BYTES) for i in infos[: shard.start])
    with zipfile.ZipFile(shard.file) as archive:
        for info in infos[shard.start : shard.stop]:
            place = _place(shard, info.filename)
            budget -= min(info.file_size, MAX_FILE_BYTES)
            if info.file_size > MAX_FILE_BYTES or budget < 0:
                yield SourceFile(printable(place), None, repo, license_, "too_large")
                continue
            try:
                with archive.open(info) as handle:
                    data = handle.read(MAX_FILE_BYTES + 1)  # its header may lie
            except _UNREADABLE:
                yield SourceFile(printable(place), None, repo, license_, "unreadable")
                continue
            yield decoded(place, data, repo, license_)


# -- tar ---------------------------------------------------------------------------------------------------------------


class _Bounded:
    """The unpacked side of a tar, which refuses to give more than a number of bytes, in all and up to the next member.

    A header of extended attributes is held in memory whole, and its size is what the archive says.
    """

    def __init__(self, handle: Any):
        self.handle, self.left, self.left_here = handle, MAX_ARCHIVE_BYTES, MAX_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        """The next bytes; ValueError once there were too many."""
        data = self.handle.read(size)
        self.left -= len(data)
        self.left_here -= len(data)
        if min(self.left, self.left_here) < 0:
            raise InputError(
                f"an archive of more than {MAX_ARCHIVE_BYTES:,} bytes, or a header of {MAX_HEADER_BYTES:,}"
            )
        return data

    def at(self, info: tarfile.TarInfo) -> None:
        """A member begins."""
        if info.sparse is not None:
            raise ValueError("a member with holes: its size says nothing about what has to be read")
        self.left_here = info.size + MAX_HEADER_BYTES


def _unpacked(path: str) -> Any:
    if path.endswith(("gz", "tgz")):
        return gzip.open(path)
    if path.endswith(("bz2", "tbz2")):
        return bz2.open(path)
    return lzma.open(path) if path.endswith(("xz", "txz")) else open(path, "rb")


def _tar_members(path: str, source: Source | None) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The plain files of a tar as they come; of a source, those that it wants."""
    with _unpacked(path) as handle:
        bounded = _Bounded(handle)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:  # type: ignore[call-overload]
            for info in archive:
                bounded.at(info)
                archive.members = []  # else every header is kept
                if info.isreg() and (source is None or _is_wanted(info.name, source)):
                    yield archive, info


def _tar_files(source: Source, shard: Shard, repo: str | None, license_: str) -> Iterator[SourceFile]:
    for number, (archive, info) in enumerate(_tar_members(shard.file, source)):
        if shard.stop is not None and number >= shard.stop:
            return
        place = _place(shard, info.name)
        if info.size > MAX_FILE_BYTES:
            yield SourceFile(printable(place), None, repo, license_, "too_large")
            continue
        handle = archive.extractfile(info)
        data = handle.read(MAX_FILE_BYTES + 1) if handle else b""
        yield decoded(place, data, repo, license_)


# -- whose it is -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _origin(path: str, mtime_ns: int) -> tuple[str | None, str]:
    """Name with version and licence of the package in a wheel or an sdist; None and 'unknown' for other archives."""
    text = _zip_metadata(path) if path.endswith(ZIPS) else _tar_metadata(path)
    if text is None:
        return None, "unknown"
    metadata = email.message_from_bytes(text)
    name = metadata.get("Name")
    license_ = printable(licenses.of_metadata(metadata))
    return (printable(f"{name}=={metadata.get('Version')}") if name else None), license_


def _zip_metadata(path: str) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            folder, _, name = info.filename.partition("/")
            if name in ("METADATA", "PKG-INFO") and (folder.endswith(".dist-info") or name == "PKG-INFO"):
                try:
                    with archive.open(info) as handle:
                        return handle.read(MAX_FILE_BYTES)
                except _UNREADABLE:
                    return None
    return None


def _tar_metadata(path: str) -> bytes | None:
    """PKG-INFO of the top folder; only sdists have one, and they are named .tar.gz or .zip."""
    if not path.endswith((".tar.gz", ".tgz")):
        return None
    try:
        for archive, info in _tar_members(path, None):
            if info.name.count("/") == 1 and info.name.endswith("/PKG-INFO"):
                handle = archive.extractfile(info)
                return handle.read(MAX_FILE_BYTES) if handle else None
    except _BROKEN:
        return None  # its files up to the damage are given out all the same
    return None
