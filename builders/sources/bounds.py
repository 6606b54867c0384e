"""How much a packed file may unpack to.

In: a packed file and the bounds of its source. Out: a reader of its bytes that stops at them.

    max_unpacked_mb   the most that is unpacked of one file
    max_ratio         so many times its own size; FREE_BYTES are allowed to every file
    max_members       members of an archive

A bomb of 10 KB can unpack to many gigabytes. Here it gives what is in its first 100 MB, and then
one file without a text, whose reason is `too_much`. A packed dataset, which has no source, is
bounded by the same reader (`builders/datasets/packed.py`).
"""

from __future__ import annotations

import os
from typing import Any

from builders.recipe import Source
from store.errors import InputError

FREE_BYTES = 100_000_000
LINE_BYTES = 100
"""A line counts as this many bytes at least: a row costs more than the line break that it is."""
TOO_MUCH = "too_much"
BOUNDS = ("max_unpacked_mb", "max_ratio", "max_members")


def fields(source: Source) -> dict[str, Any]:
    """The bounds of a source that are not the usual ones, which plans do not name."""
    usual = type(source).model_fields
    return {name: getattr(source, name) for name in BOUNDS if getattr(source, name) != usual[name].default}


class TooMuchError(InputError):
    """A file unpacks to more than its source allows."""


def most_bytes(source: Source, path: str) -> int:
    """So many bytes of a file of a source may be unpacked."""
    return most_unpacked(path, source.max_unpacked_mb * 1_000_000, source.max_ratio)


def most_unpacked(path: str | os.PathLike[str], most: int, ratio: int) -> int:
    """So many bytes of a file may be unpacked: `ratio` times its size, and at most `most`."""
    return min(most, max(FREE_BYTES, ratio * os.path.getsize(path)))


OF_A_SOURCE = "it unpacks to more than `max_unpacked_mb` and `max_ratio` of its source allow"


class Bounded:
    """The unpacked bytes of a file, up to a limit. TooMuchError, which says `told`, behind it."""

    def __init__(self, handle: Any, most: int, told: str = OF_A_SOURCE):
        self.handle, self.left, self.told = handle, most, told

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data: bytes = self.handle.read(size)
        self._count(len(data))
        return data

    def readline(self, size: int = -1) -> bytes:
        """The next line, or the next `size` bytes of it."""
        data: bytes = self.handle.readline(size)
        self._count(max(len(data), LINE_BYTES))
        return data

    def _count(self, num_bytes: int) -> None:
        self.left -= num_bytes
        if self.left < 0:
            raise TooMuchError(self.told)


def check_members(source: Source, count: int) -> None:
    """TooMuchError for more members than the source allows."""
    if count > source.max_members:
        raise TooMuchError(f"it has more than {source.max_members:,} members (`max_members` of its source)")
