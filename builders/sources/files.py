"""What all kinds of sources share: a file, a shard, and how bytes become text.

In: bytes, or a path that a source names. Out: `SourceFile`s. Each one has a text, or the reason why
it has none.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from builders.recipe import Source
from store.errors import MissingError

MAX_FILE_BYTES = 5_000_000
"""Larger files are data or generated code."""
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_ENCODINGS = re.compile(
    r"(ascii|latin|iso-?8859|cp\d|windows|koi8|mac|gb|big5|hz|euc|shift|johab|utf-?8)[\w-]*", re.ASCII | re.IGNORECASE
)
"""The encodings that we accept. Python also has codecs that do not decode text, and codecs that
take quadratic time.
"""


class License(NamedTuple):
    """A licence, and what told it."""

    name: str
    """An SPDX expression where one is known, else the words that were found, or 'unknown'."""
    source: Literal["header", "file", "metadata", "declared", "dataset", "none"]
    score: float | None = None
    """How much of the matched text is that of the licence, 0 to 1. None if no text was matched."""


UNKNOWN = License("unknown", "none")


@dataclass(frozen=True)
class SourceFile:
    """One file; `error` says why `text` is None."""

    path: str
    text: str | None
    repo: str | None
    license: str
    error: str | None = None
    license_source: str = "none"
    license_score: float | None = None


def file_of(path: str, text: str | None, repo: str | None, license_: License, error: str | None = None) -> SourceFile:
    """A file with its licence. Path, repository and licence become printable."""
    repo = None if repo is None else printable(repo)
    name, source, score = license_
    return SourceFile(printable(path), text, repo, printable(name), error, source, score)


@dataclass(frozen=True)
class Shard:
    """A part of one file of the source, or some files of a tree."""

    file: str
    """The archive, or the file of rows. For a tree: its root folder."""
    paths: tuple[str, ...] = ()
    """For a tree: the files, relative to the root."""
    start: int = 0
    stop: int | None = None
    """The members or rows from `start` up to, but not including, `stop`. None means all."""
    offset: int = 0
    """JSON lines: the byte where the first row starts. Parquet: the row group where it starts."""
    name: str = ""
    """Put before the path of each file when a source has several archives or files of rows."""
    notices: tuple[str, ...] = ()
    """For a tree: its files that tell licences, relative to the root."""


def paths_of(source: Source, suffixes: tuple[str, ...]) -> dict[str, str]:
    """The files that a source's path names, sorted: path -> short name.

    The short name is empty when there is only one file. MissingError when there is none.
    """
    place = source.path or ""
    if Path(place).is_dir():
        found = [str(p) for p in Path(place).rglob("*") if p.name.endswith(suffixes)]
    else:
        found = [place] if Path(place).exists() else glob.glob(place, recursive=True)
    found = sorted(p for p in found if Path(p).is_file())
    if not found:
        raise MissingError(f"source {source.name!r}: no file {place}. Check `path` of this source in the recipe.")
    if len(found) == 1:
        return {found[0]: ""}
    root = Path(place if Path(place).is_dir() else re.split(r"[*?\[]", place)[0])
    root = root if root.is_dir() else root.parent
    return {p: str(Path(p).relative_to(root)) for p in found}


def content_of(path: str | Path) -> str:
    """Hash of a file's bytes. For a `.py` file above MAX_FILE_BYTES, which is not read, only its
    size.
    """
    try:
        found = Path(path).stat()
        if str(path).endswith(".py") and found.st_size > MAX_FILE_BYTES:
            return str(found.st_size)
        return _hash(str(path), found.st_size, found.st_mtime_ns)
    except OSError:
        return "unreadable"


@cache
def _hash(path: str, size: int, mtime_ns: int) -> str:
    """The arguments `size` and `mtime_ns` are part of the cache key: a run makes its plan several
    times.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def decoded(path: str, data: bytes, repo: str | None, license_: License) -> SourceFile:
    """A file made of bytes: UTF-8, or the encoding that the file declares (PEP 263)."""
    error = "too_large" if len(data) > MAX_FILE_BYTES else "null_bytes" if b"\0" in data else None
    if error:
        return file_of(path, None, repo, license_, error)
    try:
        return file_of(path, data.decode("utf-8"), repo, license_)
    except UnicodeDecodeError:
        text = _declared(data)
        return file_of(path, text, repo, license_, None if text is not None else "not_utf8")


def _declared(data: bytes) -> str | None:
    """The text by the encoding declared in the first two lines; None without one that works."""
    first, _, rest = data.partition(b"\n")
    found = _COOKIE.match(first)
    if not found and re.match(rb"[ \t\f]*(#.*)?\r?$", first):
        found = _COOKIE.match(rest.partition(b"\n")[0])
    encoding = found.group(1).decode() if found else ""
    if not _ENCODINGS.fullmatch(encoding):
        return None
    try:
        codecs.lookup(encoding)
        text = data.decode(encoding)
    except (LookupError, UnicodeError):
        return None
    return None if "\0" in text else text


def printable(text: str) -> str:
    """Text that a table can hold.

    Some bytes of file names and some escapes of JSON are no characters. They are written as
    escapes.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """`start..stop` in pieces of `size`; one empty piece when there is nothing to cut."""
    return [(at, min(at + size, stop)) for at in range(start, stop, size)] or [(start, stop)]
