"""The unpacked bytes of an xz file, in bounded memory, which Python's own reader has not.

In: a path. Out: a stream of bytes. An xz file says itself how much memory its reader needs, and may
ask for 4 GB.

    with Xz("rows.jsonl.xz") as file: print(file.read(100))
"""

from __future__ import annotations

import lzma

MAX_PACKING_BYTES = 256_000_000
"""The most memory that an xz file may ask for. `xz -9` needs 65 MB."""


class Xz:
    """The unpacked bytes of a file. LZMAError for one that is damaged, or asks for too much."""

    def __init__(self, path: str):
        self._file, self._packed = open(path, "rb"), self._new()  # noqa: SIM115, closed at the end

    def __enter__(self) -> Xz:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=MAX_PACKING_BYTES)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. EOFError for a file that is cut off."""
        while True:
            if self._packed.eof:  # another stream may follow, and blanks of zeros before it
                rest = self._packed.unused_data.lstrip(b"\0") or self._file.read(1 << 16).lstrip(b"\0")
                if not rest:
                    return b""
                self._packed = self._new()
                data = self._packed.decompress(rest, size)
            else:
                packed = self._file.read(1 << 16) if self._packed.needs_input else b""
                if self._packed.needs_input and not packed:
                    raise EOFError("the file is cut off")
                data = self._packed.decompress(packed, size)
            if data:
                return data
