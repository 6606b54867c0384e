"""Inside a box: frames between two processes, over a pair of pipes.

In: bytes. Out: the same bytes at the other end, with their borders kept. A frame is its length in
four bytes, then its content.
"""

from __future__ import annotations

import select
import struct
import time

# Bound here, as a program may replace anything in these modules.
from os import read as _read
from os import write as _write

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 16
MAX_FRAME = 1 << 29


class Gone(BaseException):
    """The other process has ended, or sent what is no frame. No test catches this by accident."""


class Late(BaseException):
    """The other process did not answer in time."""


class Wire:
    """One end of a connection. A reader refuses frames above `most` bytes."""

    def __init__(self, read_fd: int, write_fd: int, most: int = MAX_FRAME) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._most = most
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)

    def send(self, content: bytes) -> None:
        """Send one frame."""
        if len(content) > _CHUNK:
            self.send_raw(_LENGTH.pack(len(content)))
            self.send_raw(content)
        else:
            self.send_raw(_LENGTH.pack(len(content)) + content)

    def send_raw(self, content: bytes) -> None:
        """Send bytes that are frames already."""
        try:
            done = _write(self._write_fd, content)
            while done < len(content):
                done += _write(self._write_fd, content[done : done + (1 << 20)])
        except OSError:
            raise Gone("its process has ended") from None

    def receive(self, deadline: float | None = None) -> bytes:
        """The next frame. Gone where none can come any more, Late after the deadline."""
        waiting = self._waiting
        while len(waiting) < 4:
            self._fill(deadline)
        length = _LENGTH.unpack_from(waiting)[0]
        if length > self._most:
            raise Gone(f"its process sent a frame of {length} bytes")
        while len(waiting) < 4 + length:
            self._fill(deadline)
        return self._cut(4, 4 + length)

    def take(self, length: int, seconds: float) -> bytes:
        """The next bytes of a stream without frames. Late if they stay away for that long."""
        waiting = self._waiting
        if len(waiting) < length:
            if length > self._most:
                raise Gone(f"its process sent {length} bytes")
            deadline = time.monotonic() + seconds
            while len(waiting) < length:
                self._fill(deadline)
        return self._cut(0, length)

    def _cut(self, start: int, end: int) -> bytes:
        """These bytes of what is waiting. They may be many, so they are copied once only."""
        with memoryview(self._waiting) as view:
            taken = bytes(view[start:end])
        del self._waiting[:end]
        return taken

    def _fill(self, deadline: float | None) -> None:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000 + 1):
                raise Late("it did not answer in time")
        chunk = _read(self._read_fd, _CHUNK)
        if not chunk:
            raise Gone("its process has ended")
        self._waiting += chunk
