"""The text of a file of a dataset, however it is packed (`builders/sources/packing.py`).

In: a path. Out: a stream of bytes, or of text. The first bytes tell the packing and the encoding,
and the name does not matter.

Files may be hostile, so there are limits. The readers of rows keep to MAX_ROW_CHARS.

    a packed file    MAX_RATIO times its own size, 100 MB always, and at most MAX_UNPACKED_BYTES
    a row            MAX_ROW_CHARS, packed or not

    with text("rows.jsonl.zst") as lines: print(lines.readline())
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from builders.sources import bounds, packing
from store.errors import InputError

MAX_RATIO = 200
"""As in sources. Texts of datasets unpack to 3 to 10 times their size."""
MAX_UNPACKED_BYTES = 100_000_000_000
"""Rows are read as a stream, so a large file costs time and no memory. This bounds the time."""
MAX_ROW_CHARS = 40_000_000
"""To read a row of so many takes 100 MB of memory, and 400 MB where it has signs such as emoji."""
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
}
_TAR_PLACE, _TAR = 257, b"ustar"
"""Where a tar says that it is one."""
_CHUNK_BYTES = 1 << 20
T = TypeVar("T")


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes inside of a file, as a stream.

    InputError for a file that is cut off or damaged, and TooMuchError, which is one, for a file
    that unpacks to more than the limit.
    """
    packed_as = packing.kind(path)
    try:
        with packing.opened(path, packed_as, partial(_bounded, path)) as handle:
            yield handle
    except packing.BROKEN as error:
        if packed_as is None or isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole {packed_as} file ({error}). Copy or write it again.") from error


def _bounded(path: Path, inside: Any) -> bounds.Bounded:
    most = bounds.most_unpacked(path, MAX_UNPACKED_BYTES, MAX_RATIO)
    told = (
        f"{path} unpacks to more than {most:,} bytes, the most for a packed file of its size. If you trust it, unpack "
        "it and name the unpacked file."
    )
    return bounds.Bounded(inside, most, told)


@contextmanager
def text(path: Path) -> Iterator[IO[str]]:
    """The text of a file, as a stream. InputError, with line and byte, where it is no UTF-8."""
    with unpacked(path) as handle:
        try:
            # Only a line feed ends a row: U+2028 and a lone carriage return may stand in a text.
            with io.TextIOWrapper(handle, encoding=encoding(path), newline="\n") as lines:
                yield lines
        except UnicodeError as error:
            raise _no_text(path, error) from error


def archive(path: Path) -> str | None:
    """What kind of archive a file is, packed or not; None for a file that is none."""
    with unpacked(path) as handle:
        start = handle.read(_TAR_PLACE + len(_TAR))
    kinds = (kind for magic, kind in _ARCHIVES.items() if start.startswith(magic))
    return next(kinds, "a tar archive" if start[_TAR_PLACE:] == _TAR else None)


def read_up_to(rows: Iterable[T]) -> Iterator[T]:
    """The rows of a file. TooMuchError also says how many rows came before the limit."""
    number = 0
    try:
        for row in rows:
            yield row
            number += 1
    except bounds.TooMuchError as error:
        raise bounds.TooMuchError(f"{error} The limit was reached in row {number + 1:,}.") from error


def too_long(place: str) -> InputError:
    """The error for a row of more than MAX_ROW_CHARS; `place` names the file and the row."""
    return InputError(
        f"{place}: longer than {MAX_ROW_CHARS:,} characters, the most of one row. Give each row a line of its own, "
        "and leave out what is longer."
    )


def encoding(path: Path) -> str:
    """The encoding of a file's text: see `packing.encoding_of`."""
    with unpacked(path) as handle:
        return packing.encoding_of(handle.read(2))


def _no_text(path: Path, error: UnicodeError) -> InputError:
    """The error with the place of the first byte that cannot be read: decoders do not tell it."""
    advice = "Save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`."
    if encoding(path) != packing.UTF8:
        return InputError(f"{path} begins as UTF-16 text, but is none ({error}). {advice}")
    with unpacked(path) as handle:
        if found := _first_fault(handle):
            return InputError(f"{path} is not UTF-8 text: {found}. {advice}")
    return InputError(f"{path} is not UTF-8 text ({error}). {advice}")


def _first_fault(handle: BinaryIO) -> str | None:
    """Where bytes stop to be UTF-8. A long line is read in parts: it need not fit into memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, start = 1, 0
    while part := handle.readline(_CHUNK_BYTES):
        held = len(decoder.getstate()[0])
        is_end = part.endswith(b"\n")
        try:
            decoder.decode(part, is_end)
        except UnicodeDecodeError as found:
            byte = found.object[found.start]
            return f"line {line}, byte {start - held + found.start + 1} is 0x{byte:02x} ({found.reason})"
        line, start = (line + 1, 0) if is_end else (line, start + len(part))
    return f"line {line} ends inside of a character" if decoder.getstate()[0] else None
