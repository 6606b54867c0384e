"""What all kinds of sources share: a file as it is given out, a shard, and how bytes become text.

In: bytes or a path that a source names. Out: `SourceFile`s, each with a text or the reason why there is none.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builders.recipe import Source
from store.errors import MissingError

MAX_FILE_BYTES = 5_000_000
"""Larger files are data or generated code."""
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_ENCODINGS = re.compile(
    r"(ascii|latin|iso-?8859|cp\d|windows|koi8|mac|gb|big5|hz|euc|shift|johab|utf-?8)[\w-]*", re.ASCII | re.IGNORECASE
)
"""Python has codecs that are no encodings of text, and some that take quadratic time."""


@dataclass(frozen=True)
class SourceFile:
    """One file; `error` says why `text` is None."""

    path: str
    text: str | None
    repo: str | None
    license: str
    error: str | None = None


@dataclass(frozen=True)
class Shard:
    """A part of one file of the source, or some files of a tree."""

    file: str
    """The archive or the file of rows; the root of a tree."""
    paths: tuple[str, ...] = ()
    """Of a tree: the files, relative to the root."""
    start: int = 0
    stop: int | None = None
    """The members or rows, to and without `stop`; None: all."""
    offset: int = 0
    """Of JSON lines: the byte where the first row starts. Of Parquet: the row group where it starts."""
    name: str = ""
    """Stands before the path of its files, where a source has several archives or files of rows."""


def paths_of(source: Source, suffixes: tuple[str, ...]) -> dict[str, str]:
    """The files that a source's path names, sorted, with a short name each, empty when there is but one."""
    place = source.path or ""
    if Path(place).is_dir():
        found = [str(p) for p in Path(place).rglob("*") if p.name.endswith(suffixes)]
    else:
        found = [place] if Path(place).exists() else glob.glob(place, recursive=True)
    found = sorted(p for p in found if Path(p).is_file())
    if not found:
        raise MissingError(f"source {source.name!r}: no file {place}")
    if len(found) == 1:
        return {found[0]: ""}
    root = Path(place if Path(place).is_dir() else re.split(r"[*?\[]", place)[0])
    root = root if root.is_dir() else root.parent
    return {p: str(Path(p).relative_to(root)) for p in found}


def content_of(path: str | Path) -> str:
    """Hash of a file's bytes; its size alone for a source file that is too large to be read."""
    try:
        found = Path(path).stat()
        if str(path).endswith(".py") and found.st_size > MAX_FILE_BYTES:
            return str(found.st_size)
        return _hash(str(path), found.st_size, found.st_mtime_ns)
    except OSError:
        return "unreadable"


@cache
def _hash(path: str, size: int, mtime_ns: int) -> str:
    """Size and time are there for the cache: a plan is made several times in a run."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def decoded(path: str, data: bytes, repo: str | None, license_: str) -> SourceFile:
    """A file of its bytes: UTF-8, or the encoding that it declares as Python has it (PEP 263)."""
    name = printable(path)
    error = "too_large" if len(data) > MAX_FILE_BYTES else "null_bytes" if b"\0" in data else None
    if error:
        return SourceFile(name, None, repo, license_, error)
    try:
        return SourceFile(name, data.decode("utf-8"), repo, license_)
    except UnicodeDecodeError:
        text = _declared(data)
        return SourceFile(name, text, repo, license_, None if text is not None else "not_utf8")


def _declared(data: bytes) -> str | None:
    """The text by a declaration in the first two lines; None where there is none that holds."""
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
    """Text that a table can hold: bytes of file names and escapes of JSON that are no characters are written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """`start..stop` in pieces of `size`; one empty piece where there is nothing."""
    return [(at, min(at + size, stop)) for at in range(start, stop, size)] or [(start, stop)]
