"""The lines of a batch file: one request each, gathered into groups that become batches.

In: bodies of requests. Out: the bytes of a batch file. A line that a batch left unanswered comes
back to the backlog.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from builders.engines.budget import Spent
from builders.engines.dialect import Lesson
from builders.engines.protocol import Json

# Providers take files of up to 200 MB.
LARGEST_FILE_BYTES = 100 * 2**20


class Line(NamedTuple):
    """One line of a batch file. `name` is unique in a table, `worst` the most it can cost."""

    name: str
    path: str
    body: Json
    worst: Spent


@dataclass
class Group:
    """One batch: the lines of it that are wanted here, and the lessons that they are said with.

    `trial` are those of the lessons that no answer has confirmed yet.
    """

    state_name: str = ""
    lessons: tuple[Lesson, ...] = ()
    trial: tuple[Lesson, ...] = ()
    lines: dict[str, Line] = field(default_factory=dict)
    num_bytes: int = 0

    def add(self, line: Line, num_bytes: int = 0) -> None:
        """Add a line."""
        self.lines[line.name] = line
        self.num_bytes += num_bytes


class Backlog:
    """Lines that must be asked. Those that are asked again come first."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._again: deque[Line] = deque()
        self._lines = lines

    def pop(self) -> Line | None:
        """The next line, None when there is none for now."""
        return self._again.popleft() if self._again else next(self._lines, None)

    def push(self, line: Line, *, is_next: bool = False) -> None:
        """Put a line back: at the front if it was only looked at, else at the end."""
        (self._again.appendleft if is_next else self._again.append)(line)


def text(line: Line, body: Json) -> bytes:
    """A line as it stands in a batch file."""
    asked = {"custom_id": line.name, "method": "POST", "url": f"/v1/{line.path}", "body": body}
    return json.dumps(asked).encode() + b"\n"
