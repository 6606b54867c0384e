"""Inside a box: what the process with the tests says to the host, over a pipe of its own.

A frame is a letter, its length in four bytes, and its content:

    G   bytes for the host (`trial.give`)
    M   memory ran out
    T   a call took longer than it may
    P   the key: the tests are done
"""

from __future__ import annotations

import struct
from os import read as _read
from os import write as _write

_HEAD = struct.Struct("<cI")
KEY_BYTES = 32


class Report:
    """Where the results go. `fds` has `report` and `key`."""

    def __init__(self, fds: dict[str, int]) -> None:
        self._report, self._key = fds["report"], fds["key"]

    def say(self, letter: bytes, content: bytes = b"") -> None:
        """Send one frame."""
        whole = _HEAD.pack(letter, len(content)) + content
        done = 0
        while done < len(whole):
            done += _write(self._report, whole[done : done + (1 << 20)])

    def prove(self) -> None:
        """Send the key, which only now becomes known to this process."""
        self.say(b"P", _read(self._key, KEY_BYTES))


def frames(content: memoryview) -> list[tuple[bytes, memoryview]]:
    """The frames of what arrived, as pairs of letter and content. A cut last frame is left out.

    The contents may be large. They are views: nothing is copied.
    """
    found, place = [], 0
    while place + _HEAD.size <= len(content):
        letter, length = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        if place + length > len(content):
            break
        found.append((letter, content[place : place + length]))
        place += length
    return found
