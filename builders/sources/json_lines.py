"""Source files that are rows of JSON lines, packed or not.

In: a `Source` and a shard. Out: its rows, each an object, or one of TOO_LONG, NO_JSON, NO_UTF8,
REPEATED and BLANK in place of a line that gives none.

How: a shard starts at a noted byte, so it reads only its own rows. Packed files and UTF-16 can only
be read from their start: there each file is one shard. The first bytes tell the packing and the
encoding (`packing`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from builders.recipe import Source
from builders.sources import packing
from builders.sources.bounds import Bounded, TooMuchError, most_bytes
from builders.sources.files import MAX_FILE_BYTES, Shard
from training.json_text import RepeatedKeyError, parsed

Row = dict[str, Any]

MAX_LINE_BYTES = 8 * MAX_FILE_BYTES
"""A longer line of JSON lines is not kept in memory. JSON may need six bytes for one character, so
a file of the largest size can take more bytes than characters.
"""
TOO_LONG: Row = {}
NO_JSON: Row = {}
NO_UTF8: Row = {}
REPEATED: Row = {}
BLANK: Row = {}
BROKEN = (TooMuchError, *packing.BROKEN, UnicodeError)
"""What a file raises that is damaged, cut off, gone or too large. The rows before that count."""
_HEAD_BYTES = 4096
_MARK = b"\xef\xbb\xbf"


def cut(source: Source, path: str, size: int, limit: int | None) -> list[tuple[int, int | None, int]]:
    """Where shards of `size` rows start and stop, and the byte where each starts."""
    try:
        is_plain = _form(path) == (None, packing.UTF8)
        if not is_plain and limit is not None:
            with _opened(source, path) as handle:
                return [(0, sum(1 for _ in islice(_lines(handle), limit)), 0)]
    except BROKEN:
        return [(0, limit, 0)]
    if not is_plain:
        return [(0, None, 0)]
    found = Path(path).stat()
    total, offsets = _line_offsets(path, size, found.st_size, found.st_mtime_ns)
    total = total if limit is None else min(total, limit)
    return [(n * size, min((n + 1) * size, total), at) for n, at in enumerate(offsets) if n * size < total or n == 0]


@lru_cache(maxsize=256)
def _line_offsets(path: str, size: int, num_bytes: int, mtime_ns: int) -> tuple[int, list[int]]:
    """The number of lines, and where every `size`-th line starts.

    The arguments `num_bytes` and `mtime_ns` are part of the cache key.
    """
    offsets, lines, position, last = [0], 0, 0, b"\n"
    with open(path, "rb") as handle:
        while block := handle.read(1 << 22):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
            wanted = np.arange(size - 1 - lines % size, len(ends), size)
            offsets += (ends[wanted] + position + 1).tolist()
            lines, position, last = lines + len(ends), position + len(block), block[-1:]
    if last != b"\n":
        lines += 1
    return lines, [at for at in offsets if at < position or at == 0]


def rows(source: Source, shard: Shard) -> Iterator[Row]:
    """The rows of one shard. BROKEN where the file is."""
    with _opened(source, shard.file) as handle:
        if shard.offset:
            handle.seek(shard.offset)
        for line in islice(_lines(handle), None if shard.stop is None else shard.stop - shard.start):
            yield _row(line)


def is_array(source: Source, path: str) -> bool:
    """Whether a file begins as a JSON array does. BROKEN where it is."""
    with _opened(source, path) as handle:
        while line := handle.readline(_HEAD_BYTES):
            if start := line.removeprefix(_MARK).lstrip():
                return bool(start[:1] == b"[")
    return False


def _form(path: str) -> tuple[str | None, str]:
    """How a file is packed, and the encoding of its text."""
    packed_as = packing.kind(Path(path))
    with packing.opened(Path(path), packed_as) as handle:
        return packed_as, packing.encoding_of(handle.read(2))


@contextmanager
def _opened(source: Source, path: str) -> Iterator[Any]:
    packed_as, encoding = _form(path)
    with packing.opened(Path(path), packed_as) as handle:
        lines = handle if encoding == packing.UTF8 else _Recoded(handle, encoding)
        yield Bounded(lines, most_bytes(source, path)) if packed_as else lines


class _Recoded:
    """The lines of a text in UTF-16, in UTF-8."""

    def __init__(self, handle: BinaryIO, encoding: str):
        # half of a character is an error of its line, and not of the file
        self.text = io.TextIOWrapper(handle, encoding, errors="surrogatepass", newline="\n")

    def readline(self, size: int) -> bytes:
        """The next line, or the next `size` characters of it."""
        return self.text.readline(size).encode("utf-8", "surrogatepass")


def _lines(handle: Any) -> Iterator[bytes | None]:
    """The lines; None for a line that is too long."""
    while line := handle.readline(MAX_LINE_BYTES):
        if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line


def _row(line: bytes | None) -> Row:
    if line is None:
        return TOO_LONG
    if not line.removeprefix(_MARK).strip():
        return BLANK
    try:
        row = parsed(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return NO_UTF8
    except RepeatedKeyError:
        return REPEATED
    except ValueError:
        return NO_JSON
    return row if isinstance(row, dict) else NO_JSON
