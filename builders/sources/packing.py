"""The bytes of a file, however it is packed: gzip, bzip2, xz, Zstandard or not at all.

In: a path. Out: how it is packed, a stream of what is inside, and the encoding of its text. The
first bytes tell these, and the name does not matter. Sources and datasets read by it.

    with opened(path, kind(path)) as handle: print(encoding_of(handle.read(2)))
"""

from __future__ import annotations

import bz2
import gzip
import html
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from builders.sources import xz
from store.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_SKIPPED = b"\x2a\x4d\x18"
"""Behind a first byte from 0x50 to 0x5f: a frame that holds no text, which may precede others."""
_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.I | re.S,
)
_UNSHOWN = re.compile(r"<!--.*?-->|<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^>]*(?:>|\Z)", re.I | re.S)
"""Comments, scripts, styles and tags. The last one may be cut."""
_HEAD_BYTES = 4096
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
"""What a packed file raises that is cut off or damaged."""
UTF8 = "utf-8-sig"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def kind(path: Path) -> str | None:
    """How a file is packed; None for a file that is not."""
    with open(path, "rb") as handle:
        start = handle.read(6)
    if start[:1] and 0x50 <= start[0] <= 0x5F and start[1:4] == _SKIPPED:
        return "Zstandard"
    return next((name for magic, name in _KINDS.items() if start.startswith(magic)), None)


def require_content(path: Path) -> None:
    """InputError for a file that is only Git's note of a large file, or a page of a web server.

    Such a page is what `curl` saves where a login is needed, or where there is nothing.
    """
    with open(path, "rb") as handle:
        start = handle.read(_HEAD_BYTES)
    if start.startswith(_LFS):
        raise InputError(f"{path} is a Git LFS pointer, and not the file itself: run `git lfs pull`")
    if _HTML.match(start):
        raise InputError(
            f"{path} is an HTML page (its first words: {_words(start)!r}), and not the file itself: was it downloaded "
            "without a login? Download it again."
        )


def _words(page: bytes) -> str:
    """The first words that a page shows."""
    text = _UNSHOWN.sub(" ", page.decode("utf-8-sig", "replace"))
    return " ".join(html.unescape(text).split())[:80]


def opened(path: Path, packed_as: str | None, limit: Callable[[Any], Any] | None = None) -> BinaryIO:
    """The bytes inside of a file that is packed in this way, as a stream.

    `limit` makes a reader that stops at some limit of one of all that is unpacked. What a damaged
    file raises is given on: OSError, EOFError, or an error of its packing.
    """
    if packed_as is None:
        return open(path, "rb")
    if packed_as == "xz":
        inside: Any = xz.Xz(str(path))
    elif packed_as == "Zstandard":  # Arrow's reader notices when a file is cut off
        inside = pa.input_stream(str(path), compression="zstd")
    else:
        inside = (gzip.open if packed_as == "gzip" else bz2.open)(path, "rb")
    return cast(BinaryIO, io.BufferedReader(_Raw(inside, limit(inside) if limit else inside), 1 << 16))


class _Raw(io.RawIOBase):
    """A reader as Python's streams have it."""

    def __init__(self, inside: Any, reader: Any):
        self.inside, self.reader = inside, reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.inside.close()
        super().close()


def encoding_of(start: bytes) -> str:
    """The encoding that the first two bytes of a text tell: UTF-16, or UTF-8 with a mark or none.

    UTF-16 without a mark has a NUL beside the first sign, which no text in UTF-8 has.
    """
    if start in _UTF16:
        return "utf-16"
    if len(start) == 2 and 0 in start and any(start):
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return UTF8
