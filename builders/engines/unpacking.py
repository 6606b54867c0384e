"""The bytes of an answer as they were before its server packed them (`Content-Encoding`).

In: the header, and what came, piece by piece. Out: plain bytes. gzip and deflate are asked for and
read. `UnreadableError` where a whole answer cannot be read: it is packed as something else, or its
bytes are broken. Whoever asks again gets the same from such a server, and pays again. Bytes that
end too soon are given as far as they go, and show then as an answer that was cut.

A server may say that it packs and send plain text. That is taken as it is.

    unpacker = Unpacker("gzip")
    b"".join([*unpacker.feed(b"\\x1f\\x8b…"), *unpacker.end()])
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from builders.engines.malformed import UnreadableError

ASKED_FOR = "gzip, deflate"
"""What we read, as a header `Accept-Encoding`. Without it, aiohttp names what happens to be
installed."""
# Bytes that are not text are seen in the first few. So many are waited for before that is decided.
HEAD_BYTES = 64
PIECE_BYTES = 2**20
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Unpacker:
    """See the module. An answer that was packed twice is unpacked twice."""

    def __init__(self, encoding: str) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        self._layers = [_Layer(name) for name in reversed(names) if name not in ("", "identity")]

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What can be unpacked so far, in pieces of at most `PIECE_BYTES` of packed answers."""
        yield from self._through(0, chunk, is_end=False)

    def end(self) -> Iterator[bytes]:
        """What is left when all has come."""
        yield from self._through(0, b"", is_end=True)

    def _through(self, depth: int, chunk: bytes, *, is_end: bool) -> Iterator[bytes]:
        if depth == len(self._layers):
            if chunk:
                yield chunk
            return
        for piece in self._layers[depth].unpacked(chunk, is_end=is_end):
            yield from self._through(depth + 1, piece, is_end=False)
        if is_end:
            yield from self._through(depth + 1, b"", is_end=True)


class _Layer:
    """One encoding. `_head` is what came before it was clear whether the server told the truth."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head: bytes | None = b""
        self._is_plain = False
        self._inflating = zlib.decompressobj()

    def unpacked(self, chunk: bytes, *, is_end: bool) -> Iterator[bytes]:
        if self._head is not None:
            self._head += chunk
            if len(self._head) < HEAD_BYTES and not is_end:
                return
            chunk, self._head = self._head, None
            self._begin(chunk[:HEAD_BYTES])
        if self._is_plain:
            yield chunk
            return
        yield from self._inflated(chunk)
        if is_end:
            yield self._inflating.flush()

    def _begin(self, head: bytes) -> None:
        is_gzip = self._name in ("gzip", "x-gzip")
        is_packed = head.startswith(b"\x1f\x8b") if is_gzip else not _is_text(head)
        self._is_plain = not is_packed and _is_text(head)
        if self._is_plain:
            return
        if not is_gzip and self._name != "deflate":
            raise UnreadableError(
                f"the answer is packed as {self._name[:20]!r}, which we did not ask for and cannot read"
            )
        is_zlib = len(head) > 1 and head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0
        self._inflating = zlib.decompressobj(_GZIP if is_gzip else _ZLIB if is_zlib else _RAW)

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflating.eof:
                if self._name == "deflate" or not chunk.startswith(b"\x1f\x8b"):
                    return  # what follows the packed bytes is nobody's
                self._inflating = zlib.decompressobj(_GZIP)
            try:
                yield self._inflating.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise UnreadableError(
                    f"the answer is packed as {self._name}, and its bytes are broken ({error})"
                ) from None
            chunk = self._inflating.unconsumed_tail or self._inflating.unused_data


def _is_text(head: bytes) -> bool:
    """Whether bytes are plain text. A character at their end may be cut."""
    if _CONTROLS.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
