"""The cases of tasks in a file, so that a benchmark takes as little memory as what it asks.

In: tasks, one after the other. Out: the same tasks; their cases are read when they are asked for.

    file = CaseFile(folder)
    tasks = [file.stored(task) for task in read_tasks("livecodebench.jsonl")]
    tasks[0].cases[0]      # Case("1 2\\n", "3\\n"), read now

The file has no name, so that nobody else can open it. It is gone with the last of its cases, or
when this process ends. A case is a line of JSON in it: its input and its output.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import overload

from builders.harness.tasks import Case, Task
from store.errors import JobError

_CHUNK = 1 << 20


class CaseFile:
    """A file for the cases of one benchmark. JobError where there is no space for them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._end = folder, 0
        with _told(folder):
            file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  closed with the last of its cases
        self.fd = file.fileno()
        weakref.finalize(self, file.close)

    def stored(self, task: Task) -> Task:
        """The task with its cases in this file. One without cases stays as it is."""
        if not task.cases:
            return task
        with _told(self._folder):
            return replace(task, cases=self._put(task.cases))

    def _put(self, cases: Iterable[Case]) -> StoredCases:
        start, num, digest = self._end, 0, _new_digest()
        for case in cases:
            line = case_line(case)
            digest.update(line)
            self._write(line)
            num += 1
        return StoredCases(Block(self, start, self._end - start), num, digest.hexdigest())

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            done = os.pwrite(self.fd, view, self._end)
            view, self._end = view[done:], self._end + done


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what can be done where the file cannot be written."""
    try:
        yield
    except OSError as error:
        raise JobError(
            f"the tests of benchmarks cannot be put aside in {folder} ({error.strerror}): make room there, or set "
            "XDG_CACHE_HOME to another folder"
        ) from None


@dataclass(frozen=True)
class Block:
    """A part of a file. It is read each time that it is iterated, in pieces."""

    file: CaseFile | Path
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self.file, CaseFile):
            yield from self._pieces(self.file.fd)
            return
        with open(self.file, "rb") as file:
            yield from self._pieces(file.fileno())

    def _pieces(self, fd: int) -> Iterator[bytes]:
        place, end = self.start, self.start + self.size
        while place < end and (piece := os.pread(fd, min(_CHUNK, end - place), place)):
            place += len(piece)
            yield piece


@dataclass(frozen=True)
class Below:
    """A head, and below it a block that is read when it is needed: data for a trial."""

    head: bytes
    block: Block

    def __len__(self) -> int:
        return len(self.head) + len(self.block)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        yield from self.block


@dataclass(frozen=True)
class StoredCases(Sequence[Case]):
    """The cases of a task, which lie in a file. Equal cases are equal wherever they lie."""

    block: Block = field(compare=False)
    num_cases: int
    digest: str

    def __len__(self) -> int:
        return self.num_cases

    def __iter__(self) -> Iterator[Case]:
        for line in io.BytesIO(b"".join(self.block)):
            yield Case(*json.loads(line))

    @overload
    def __getitem__(self, place: int) -> Case: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Case]: ...
    def __getitem__(self, place: int | slice) -> Case | Sequence[Case]:
        if isinstance(place, slice):
            return tuple(self)[place]
        return next(islice(self, range(self.num_cases)[place], None))


def case_line(case: Case) -> bytes:
    """A case as a line of JSON."""
    return json.dumps([case.input, case.output]).encode() + b"\n"


def cases_hash(cases: Sequence[Case]) -> str:
    """A hash of what the cases hold. It is the same wherever they lie."""
    if isinstance(cases, StoredCases):
        return cases.digest
    digest = _new_digest()
    for case in cases:
        digest.update(case_line(case))
    return digest.hexdigest()


def data_of(head: bytes, cases: Sequence[Case]) -> bytes | Below:
    """A head, and below it the cases as lines."""
    if isinstance(cases, StoredCases):
        return Below(head, cases.block)
    return head + b"".join(map(case_line, cases))


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
