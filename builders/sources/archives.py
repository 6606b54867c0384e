"""Source files inside archives: tar in any compression, zip, wheels and sdists.

In: a `Source` and a shard. Out: the `.py` members. Each has the licence that its place in the
archive tells (`license_places`), and the name of its package. Nothing is ever unpacked to disk.

How: a zip is cut into shards by its members. A tar can only be read from its start, so it is one
shard. Archives may be hostile, so there are limits:

    one member       MAX_FILE_BYTES are read, whatever its header says
    one archive      what its source allows is unpacked: bytes, ratio, members (see bounds)
    between members  MAX_HEADER_BYTES
    its packing      MAX_PACKING_BYTES of memory (see xz)
    links, devices   are skipped, they are not files
    a member's name  is text that we store; it is never used as a path on this machine
    licences         MAX_NOTICES files and MAX_NOTICE_BYTES that tell them
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa

from builders.recipe import Source
from builders.sources import bounds
from builders.sources.bounds import TOO_MUCH, Bounded, TooMuchError
from builders.sources.files import (
    MAX_FILE_BYTES,
    UNKNOWN,
    License,
    Shard,
    SourceFile,
    content_of,
    cut,
    decoded,
    file_of,
    paths_of,
)
from builders.sources.license_places import Places, is_notice, is_vendored, most_bytes
from builders.sources.license_rules import chosen
from builders.sources.xz import Xz
from store.errors import InputError

ZIPS = (".zip", ".whl", ".egg")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
MAX_NOTICES, MAX_NOTICE_BYTES = 20_000, 50_000_000
"""So many files of an archive that tell licences are kept in memory, and so much of them."""
BYTES_OF_A_NAME = 300
"""What the directory of a zip may hold for each member on average."""
MAX_HEADER_BYTES = 1_000_000
"""The most that may stand between two members of a tar: padding, long names, extended attributes.
"""
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""What a damaged archive raises, when it is opened or later."""
_UNREADABLE = (*_BROKEN, NotImplementedError, RuntimeError)
"""All of these, and what a member raises that is encrypted or packed in an unknown way."""

Origin = Callable[[str], tuple[str | None, License]]
"""Gives the package and the licence of a member."""


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of all archives, and the names and hashes that tell one listing from another."""
    found: list[Shard] = []
    left = source.max_files
    paths = paths_of(source, (*ZIPS, *TARS))
    for path, name in paths.items():
        if not path.endswith((*ZIPS, *TARS)):
            raise InputError(
                f"source {source.name!r}: {path} is not an archive that can be read. "
                f"Give a file that ends in one of {', '.join((*ZIPS, *TARS))}."
            )
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
    """How many members are wanted. A tar is counted only for a limit, because counting reads it."""
    if left is None and not path.endswith(ZIPS):
        return 0
    try:
        count = len(_zip_infos(path, source)) if path.endswith(ZIPS) else sum(1 for _ in _tar_members(path, source))
    except (TooMuchError, *_BROKEN):
        return 1  # one shard, whose reader then reports the archive
    return count if left is None else min(count, left)


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard. A broken archive ends in one file whose `error` says so."""
    reader = _zip_files if shard.file.endswith(ZIPS) else _tar_files
    fallback = License(source.license, "declared") if source.license else UNKNOWN
    try:
        places = _places(shard.file, os.stat(shard.file).st_mtime_ns, source)
        yield from reader(source, shard, lambda name: _origin(places, name, source, is_alone=not shard.name))
    except (TooMuchError, *_BROKEN) as error:
        reason = TOO_MUCH if isinstance(error, TooMuchError) else "broken_archive"
        yield file_of(shard.name or os.path.basename(shard.file), None, None, fallback, reason)


def _origin(places: Places, name: str, source: Source, *, is_alone: bool) -> tuple[str | None, License]:
    """The package and the licence of a member. One archive alone is what its source declares."""
    repo, found = places.of(name)
    is_whole = is_alone and found is not None and "/" not in found.folder
    return repo, chosen(
        found.license if found else None, source.license, is_whole=is_whole, is_vendored=is_vendored(name)
    )


def _place(shard: Shard, name: str) -> str:
    return f"{shard.name}/{name}" if shard.name else name


def _is_wanted(name: str, source: Source) -> bool:
    return name.endswith(".py") and not name.startswith(source.exclude or ("\0",))


# -- zip -------------------------------------------------------------------------------------------


def _zip_infos(path: str, source: Source) -> list[zipfile.ZipInfo]:
    return _wanted_infos(path, os.stat(path).st_mtime_ns, source)


def _opened_zip(path: str, source: Source) -> zipfile.ZipFile:
    """A zip whose directory is small enough to be read. TooMuchError if it is not."""
    with open(path, "rb") as handle:
        # a private name, because zipfile itself reads the whole directory into memory at once
        found = zipfile._EndRecData(handle)  # type: ignore[attr-defined]
    if found and found[zipfile._ECD_SIZE] > BYTES_OF_A_NAME * source.max_members:  # type: ignore[attr-defined]
        raise TooMuchError("the directory of the zip is longer than that of `max_members` members")
    archive = zipfile.ZipFile(path)
    try:
        bounds.check_members(source, len(archive.filelist))
    except TooMuchError:
        archive.close()
        raise
    return archive


@lru_cache(maxsize=4)
def _wanted_infos(path: str, mtime_ns: int, source: Source) -> list[zipfile.ZipInfo]:
    """The wanted members. When several have one name the last one counts, as for every reader of
    zips.
    """
    with _opened_zip(path, source) as archive:
        infos = {i.filename: i for i in archive.infolist() if not i.is_dir() and _is_wanted(i.filename, source)}
    return [infos[name] for name in sorted(infos)]


def _zip_files(source: Source, shard: Shard, origin: Origin) -> Iterator[SourceFile]:
    infos = _zip_infos(shard.file, source)
    budget = bounds.most_bytes(source, shard.file) - sum(min(i.file_size, MAX_FILE_BYTES) for i in infos[: shard.start])
    with _opened_zip(shard.file, source) as archive:
        for info in infos[shard.start : shard.stop]:
            place = _place(shard, info.filename)
            budget -= min(info.file_size, MAX_FILE_BYTES)
            if info.file_size > MAX_FILE_BYTES or budget < 0:
                reason = TOO_MUCH if budget < 0 else "too_large"
                yield file_of(place, None, *origin(info.filename), reason)
                continue
            try:
                with archive.open(info) as handle:
                    data = handle.read(MAX_FILE_BYTES + 1)  # the size in its header may be wrong
            except _UNREADABLE:
                yield file_of(place, None, *origin(info.filename), "unreadable")
                continue
            yield decoded(place, data, *origin(info.filename))


# -- tar -------------------------------------------------------------------------------------------


class _BoundedTar(Bounded):
    """The unpacked bytes of a tar, with a limit for the whole archive and one up to the next
    member.

    The second limit is needed because `tarfile` holds a header of extended attributes in memory
    whole, and the archive itself says how large that header is.
    """

    def __init__(self, handle: Any, most: int):
        super().__init__(handle, most)
        self.left_here, self.num_empty = MAX_HEADER_BYTES, 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes. ValueError for a header that is too long: the archive is broken.

        EOFError for the third read behind the end: to skip a member, `tarfile` reads as often as
        the member's header says, also where nothing is left.
        """
        data = super().read(size)
        self.num_empty += not data
        if self.num_empty > 2:
            raise EOFError("the archive is cut off")
        self.left_here -= len(data)
        if self.left_here < 0:
            raise ValueError(f"a header in the archive has more than {MAX_HEADER_BYTES:,} bytes")
        return data

    def at(self, info: tarfile.TarInfo) -> None:
        """Called when a member begins: allow its size and one more header.

        TooMuchError for a member that is larger than what may still be unpacked.
        """
        if info.size > self.left + tarfile.RECORDSIZE:  # so much of it may have been read already
            raise TooMuchError("a member is larger than `max_unpacked_mb` and `max_ratio` of its source allow")
        if info.sparse is not None:
            raise ValueError("a sparse member: its size does not say how many bytes have to be read")
        self.left_here = info.size + MAX_HEADER_BYTES


def _unpacked(path: str) -> Any:
    if path.endswith(("gz", "tgz")):
        return gzip.open(path)
    if path.endswith(("bz2", "tbz2")):
        return bz2.open(path)
    if path.endswith(("zst", "tzst")):
        return pa.input_stream(path, compression="zstd")
    return Xz(path) if path.endswith(("xz", "txz")) else open(path, "rb")


def _tar_members(
    path: str, source: Source, *, is_all: bool = False
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The plain files of a tar in their order: those that the source wants, or all of them."""
    with _unpacked(path) as handle:
        bounded = _BoundedTar(handle, bounds.most_bytes(source, path))
        with tarfile.open(fileobj=bounded, mode="r|") as archive:  # type: ignore[call-overload]
            for number, info in enumerate(archive):
                bounds.check_members(source, number + 1)
                bounded.at(info)
                archive.members = []  # otherwise `tarfile` keeps every header in memory
                if info.isreg() and (is_all or _is_wanted(info.name, source)):
                    yield archive, info


def _tar_files(source: Source, shard: Shard, origin: Origin) -> Iterator[SourceFile]:
    for number, (archive, info) in enumerate(_tar_members(shard.file, source)):
        if shard.stop is not None and number >= shard.stop:
            return
        place = _place(shard, info.name)
        if info.size > MAX_FILE_BYTES:
            yield file_of(place, None, *origin(info.name), "too_large")
            continue
        handle = archive.extractfile(info)
        data = handle.read(MAX_FILE_BYTES + 1) if handle else b""
        yield decoded(place, data, *origin(info.name))


# -- what tells licences ---------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _places(path: str, mtime_ns: int, source: Source) -> Places:
    """The members of an archive that tell licences. They are read once, also for many shards."""
    found: dict[str, bytes] = {}
    left = MAX_NOTICE_BYTES
    try:
        for name, data in _zip_notices(path, source) if path.endswith(ZIPS) else _tar_notices(path, source):
            left -= len(data)
            if len(found) >= MAX_NOTICES or left < 0:
                break
            found[name] = data
    except (TooMuchError, *_BROKEN):
        pass  # the files before the damage are still read
    return Places(found, found.get)


def _zip_notices(path: str, source: Source) -> Iterator[tuple[str, bytes]]:
    with _opened_zip(path, source) as archive:
        for info in archive.infolist():
            if not info.is_dir() and is_notice(info.filename):
                try:
                    with archive.open(info) as handle:
                        yield info.filename, handle.read(most_bytes(info.filename))
                except _UNREADABLE:
                    continue


def _tar_notices(path: str, source: Source) -> Iterator[tuple[str, bytes]]:
    for archive, info in _tar_members(path, source, is_all=True):
        if is_notice(info.name):
            handle = archive.extractfile(info)
            yield info.name, handle.read(most_bytes(info.name)) if handle else b""
