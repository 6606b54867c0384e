"""The bytes and the text of a file, however it is packed: gzip, bzip2, xz, Zstandard or not at all.

In: a path. Out: a stream of bytes, or of text. The first bytes tell the packing and the encoding,
and the name does not matter: UTF-8, or UTF-16 with a mark at its start or without.

    with text("rows.jsonl.zst") as lines: print(lines.readline())
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import pyarrow as pa

from store.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def kind(path: Path) -> str | None:
    """How a file is packed; None for a file that is not."""
    with open(path, "rb") as handle:
        start = handle.read(6)
    return next((name for magic, name in _KINDS.items() if start.startswith(magic)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes inside of a file, as a stream. InputError for a file that is cut off or damaged."""
    packing = kind(path)
    try:
        with _opened(path, packing) as handle:
            yield handle
    except _BROKEN as error:
        if packing is None or isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole {packing} file ({error}). Copy or write it again.") from error


def _opened(path: Path, packing: str | None) -> BinaryIO:
    if packing == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if packing == "bzip2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    if packing == "xz":
        return cast(BinaryIO, lzma.open(path, "rb"))
    if packing == "Zstandard":  # Arrow's reader notices when a file is cut off
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return open(path, "rb")


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
        for number, line in enumerate(handle, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                return InputError(
                    f"{path} is not UTF-8 text: line {number}, byte {found.start + 1} is 0x{line[found.start]:02x} "
                    f"({found.reason}). {advice}"
                )
    return InputError(f"{path} is not UTF-8 text ({error}). {advice}")
