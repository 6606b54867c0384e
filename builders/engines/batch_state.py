"""Which batches were submitted and not yet collected, in a file that outlives the process.

In: what happened to each batch, one line at a time. Out: after a kill, the batches that are still
open. The file holds JSON lines and only grows. Each line is on the disk before the next step is
taken: a lost line would be a batch that is paid for twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from store import content_id
from store.files import private


@dataclass
class OpenBatch:
    """`batch_id` is None where the process ended between naming a batch and hearing its id."""

    name: str
    lines: list[str]
    batch_id: str | None = None


class BatchState:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_named = 0
        self._open: dict[str, OpenBatch] = {}
        for line in _whole_lines(path):
            self._take(json.loads(line))

    def open_batches(self) -> list[OpenBatch]:
        """The batches that are not collected, in their order."""
        return list(self._open.values())

    def begin(self, lines: Iterable[str]) -> str:
        """A new name for a batch that is about to be submitted, written down before it is."""
        names = list(lines)
        name = content_id("batch", self._num_named, *names)
        self._write({"name": name, "lines": names})
        return name

    def submitted(self, name: str, batch_id: str) -> None:
        """The provider took the batch."""
        self._write({"name": name, "batch_id": batch_id})

    def close(self, name: str) -> None:
        """The batch is collected, or was never taken."""
        self._write({"name": name, "is_closed": True})

    def _write(self, event: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8", opener=private) as handle:
            handle.write(json.dumps(event) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        self._take(event)

    def _take(self, event: dict[str, object]) -> None:
        name = str(event["name"])
        if isinstance(event.get("lines"), list):
            self._open[name] = OpenBatch(name, list(event["lines"]))  # type: ignore[call-overload]
            self._num_named += 1
        elif event.get("is_closed"):
            self._open.pop(name, None)
        elif name in self._open:
            self._open[name].batch_id = str(event["batch_id"])


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file; a last one that was cut by a kill is removed from it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return data[:end].decode("utf-8").split("\n")[:-1]
