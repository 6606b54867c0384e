"""The bytes and the text of a file, however it is packed: gzip, bzip2, xz, Zstandard or not at all.

In: a path. Out: a stream of bytes, or of text. The first bytes tell the packing and the encoding,
and the name does not matter: UTF-8, or UTF-16 with a mark at its start or without.

Files may be hostile, so there are limits. The readers of rows keep to MAX_ROW_CHARS.

    a packed file    MAX_RATIO times its own size, 100 MB always, and at most MAX_UNPACKED_BYTES
    a row            MAX_ROW_CHARS, packed or not

    with text("rows.jsonl.zst") as lines: print(lines.readline())
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast

import pyarrow as pa

from builders.sources import bounds, xz
from store.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
MAX_RATIO = 200
"""As in sources. Texts of datasets unpack to 3 to 10 times their size."""
MAX_UNPACKED_BYTES = 100_000_000_000
"""Rows are read as a stream, so a large file costs time and no memory. This bounds the time."""
MAX_ROW_CHARS = 40_000_000
"""To read a row of so many takes 100 MB of memory, and 400 MB where it has signs such as emoji."""
_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CHUNK_BYTES = 1 << 20
T = TypeVar("T")


def kind(path: Path) -> str | None:
    """How a file is packed; None for a file that is not."""
    with open(path, "rb") as handle:
        start = handle.read(6)
    return next((name for magic, name in _KINDS.items() if start.startswith(magic)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes inside of a file, as a stream.

    InputError for a file that is cut off or damaged, and TooMuchError, which is one, for a file
    that unpacks to more than the limit.
    """
    packing = kind(path)
    try:
        with _opened(path, packing) as handle:
            yield handle
    except _BROKEN as error:
        if packing is None or isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole {packing} file ({error}). Copy or write it again.") from error


def _opened(path: Path, packing: str | None) -> BinaryIO:
    if packing is None:
        return open(path, "rb")
    if packing == "xz":
        inside: Any = xz.Xz(str(path))
    elif packing == "Zstandard":  # Arrow's reader notices when a file is cut off
        inside = pa.input_stream(str(path), compression="zstd")
    else:
        inside = (gzip.open if packing == "gzip" else bz2.open)(path, "rb")
    most = bounds.most_unpacked(path, MAX_UNPACKED_BYTES, MAX_RATIO)
    told = (
        f"{path} unpacks to more than {most:,} bytes, the most for a packed file of its size. If you trust it, unpack "
        "it and name the unpacked file."
    )
    return cast(BinaryIO, io.BufferedReader(_Raw(inside, bounds.Bounded(inside, most, told)), 1 << 16))


class _Raw(io.RawIOBase):
    """A bounded reader as Python's streams have it."""

    def __init__(self, inside: Any, bounded: bounds.Bounded):
        self.inside, self.bounded = inside, bounded

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.bounded.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.inside.close()
        super().close()


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
    """The encoding that the first bytes of the text tell: UTF-16 or UTF-8.

    UTF-16 without a mark has a NUL beside the first sign, which no text in UTF-8 has.
    """
    with unpacked(path) as handle:
        start = handle.read(2)
    if start in _UTF16:
        return "utf-16"
    if len(start) == 2 and 0 in start and any(start):
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def _no_text(path: Path, error: UnicodeError) -> InputError:
    """The error with the place of the first byte that cannot be read: decoders do not tell it."""
    advice = "Save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`."
    if encoding(path) != "utf-8-sig":
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
