"""Which batches were submitted and not yet collected, in a file that outlives the process.

In: what happened to each batch, one line at a time. Out: after a kill, the batches that are still
open. The file holds JSON lines and only grows. Each line is on the disk before the next step is
taken: a lost line would be a batch that is paid for twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from store import content_id
from store.files import private


@dataclass
class OpenBatch:
    """`batch_id` is None where the process ended between naming a batch and hearing its id.

    `lessons` are those of the dialect that its requests were said with, in words, and `counted` the
    tokens and dollars that were counted as lost while its answers could not be had.
    """

    name: str
    lines: list[str]
    batch_id: str | None = None
    input_file_id: str | None = None
    lessons: list[str] = field(default_factory=list)
    counted: tuple[int, float] = (0, 0.0)


class BatchState:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._num_named = 0
        self._open: dict[str, OpenBatch] = {}
        for line in _whole_lines(path):
            self._take(json.loads(line))

    def open_batches(self) -> list[OpenBatch]:
        """The batches that are not collected, in their order."""
        return list(self._open.values())

    def begin(self, lines: Iterable[str], lessons: Iterable[str] = ()) -> str:
        """A new name for a batch that is about to be submitted, written down before it is."""
        names = list(lines)
        name = content_id("batch", self._num_named, *names)
        self._write({"name": name, "lines": names, "lessons": list(lessons)})
        return name

    def uploaded(self, name: str, input_file_id: str) -> None:
        """The provider has the file of the batch, which is about to be ordered."""
        self._write({"name": name, "input_file_id": input_file_id})

    def count(self, name: str, tokens: int, usd: float) -> None:
        """What the batch may cost is counted as lost so far. It takes the place of what was."""
        self._write({"name": name, "counted": [tokens, usd]})

    def submitted(self, name: str, batch_id: str) -> None:
        """The provider took the batch."""
        self._write({"name": name, "batch_id": batch_id})

    def close(self, name: str) -> None:
        """The batch is collected, or was never taken."""
        self._write({"name": name, "is_closed": True})

    def _write(self, event: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8", opener=private) as handle:
            handle.write(json.dumps(event) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        self._take(event)

    def _take(self, event: dict[str, object]) -> None:
        name = str(event["name"])
        lines = event.get("lines")
        if isinstance(lines, list):
            lessons = event.get("lessons")
            told = [str(one) for one in lessons] if isinstance(lessons, list) else []
            self._open[name] = OpenBatch(name, [str(one) for one in lines], lessons=told)
            self._num_named += 1
        elif event.get("is_closed"):
            self._open.pop(name, None)
        elif name in self._open:
            batch, counted = self._open[name], event.get("counted")
            if isinstance(counted, list):
                batch.counted = int(counted[0]), float(counted[1])
            elif "input_file_id" in event:
                batch.input_file_id = str(event["input_file_id"])
            else:
                batch.batch_id = str(event["batch_id"])


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file; a last one that was cut by a kill is removed from it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return data[:end].decode("utf-8").split("\n")[:-1]
