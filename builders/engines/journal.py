"""Answers are kept on disk as they arrive, so that none is paid for twice.

In: completions of the requests of one plan, shard by shard. Out: the answers of a shard, also after
a kill. Each shard has one file of JSON lines, which only grows.

- A line is handed to the operating system before the next answer is taken. So a killed process
  loses nothing that it had received.
- While answers arrive, the files are synced to the disk every second, and always before a shard is
  given out. So a loss of power loses at most that second. A sync for each answer would slow a run
  down to the few hundred a second that a disk can do.
- A last line that was cut by a kill is removed.
- What attempts without an answer cost stands in a file of its own (`losses.py`).
- An answer that failed and cost nothing is kept for the rows of this run only. After a kill it is
  asked for again.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from builders.engines import losses
from builders.engines.budget import Spent
from builders.engines.types import ChoiceCompletion, Completion
from store.errors import JobError
from store.files import private, write_text

Answer = Completion | ChoiceCompletion

CLOSED = "spent.json"
"""In the folder of a journal that was closed: what its answers had cost."""
SYNC_S = 1.0
OPEN_FILES = 64
_FIELDS = {kind: [(field.name, field.default) for field in fields(kind)] for kind in (Completion, ChoiceCompletion)}
"""What is as it always is, is not written."""


class Journal:
    """The answers of one plan in a folder.

    One thread writes. A shard is read when all its answers are there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _finish_closing(folder)
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()
        self._synced = time.monotonic()

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self._folder / f"shard-{shard:05d}.jsonl"

    def add(self, shard: int, answer: Answer, cost_usd: float | None) -> None:
        """Keep an answer and what it cost."""
        record = {name: value for name, default in _FIELDS[type(answer)] if (value := getattr(answer, name)) != default}
        handle = self._open(shard)
        with _named(self.path(shard)):
            handle.write(json.dumps(record | {"cost_usd": cost_usd}).encode() + b"\n")
            handle.flush()
        if time.monotonic() - self._synced > SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Bring all that was added to the disk."""
        for shard, handle in self._files.items():
            with _named(self.path(shard)):
                os.fsync(handle.fileno())
        self._synced = time.monotonic()

    def finish(self, shard: int) -> None:
        """The last answer of a shard was added."""
        handle = self._files.pop(shard, None)
        if handle is not None:
            self._close(shard, handle)

    def close(self) -> None:
        """Sync and close all files, also where one of them fails. Its error is raised then."""
        with ExitStack() as stack:
            while self._files:
                stack.callback(self._close, *self._files.popitem())

    def _close(self, shard: int, handle: BinaryIO) -> None:
        with _named(self.path(shard)), handle:
            os.fsync(handle.fileno())

    def _open(self, shard: int) -> BinaryIO:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        if len(self._files) >= OPEN_FILES:
            self._close(*self._files.popitem(last=False))
        self._folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self.path(shard))
        self._files[shard] = open(self.path(shard), "ab", opener=private)  # noqa: SIM115, closed by finish or close
        return self._files[shard]

    def answers(self, shard: int) -> dict[str, Answer]:
        """Request id -> its last answer. Answers that failed and cost nothing are in it too."""
        return {answer.request_id: answer for answer, _ in _read(self.path(shard))}

    def paid(self, shard: int, *, ask_failed_again: bool = False) -> dict[str, Answer]:
        """Request id -> an answer that is not asked for again.

        One that came and could not be read is paid for, so it stays, unless somebody wants it.
        """
        is_kept = is_read if ask_failed_again else is_final
        return {name: answer for name, answer in self.answers(shard).items() if is_kept(answer)}


def answers_in(folder: Path) -> dict[str, Answer]:
    """All that a journal holds, by request id: the last answer to each."""
    paths = sorted(folder.glob("shard-*.jsonl"))
    return {answer.request_id: answer for path in paths for answer, _ in _read(path)}


def unreadable_in(folder: Path) -> list[str]:
    """The lines of a journal that cannot be read, such as "shard-00000.jsonl, line 3".

    A last line that was cut by a kill is one of them, too.
    """
    return [
        f"{path.name}, line {number}"
        for path in sorted(folder.glob("shard-*.jsonl"))
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1)
        if line and _is_unreadable(line)
    ]


def is_final(answer: Answer) -> bool:
    """Whether asking again would pay again, or would give the same."""
    return answer.finish_reason != "error" or bool(answer.num_prompt_tokens or answer.num_completion_tokens)


def is_read(answer: Answer) -> bool:
    """Whether it is more than an error."""
    return answer.finish_reason != "error"


def spent(folders: list[Path]) -> Spent:
    """What these journals cost, at the prices of their day, with attempts that gave no answer.

    Those of closed journals count, too.
    """
    total = Spent()
    for folder in folders:
        before, counted = _closed(folder)
        total += before
        for path in _costing(folder):
            if path.name not in counted:
                total += _cost(path)
    return total


def close(folder: Path) -> None:
    """Remove the answers of a journal, and keep what they cost: budgets go on counting it.

    A kill on the way counts no answer twice and loses none: what is counted is written down before
    its file goes. The journal can be used again; then its costs are added.
    """
    _finish_closing(folder)
    paths = _costing(folder)
    total = spent([folder])
    _write_closed(folder, total, [path.name for path in paths])
    _finish_closing(folder)
    for path in folder.iterdir():
        if path.name != CLOSED:
            path.unlink()


def holds_answers(folder: Path) -> bool:
    """Whether a journal holds anything but what its answers had cost."""
    return any(path.name != CLOSED for path in folder.iterdir())


def _costing(folder: Path) -> list[Path]:
    return [path for pattern in ("shard-*.jsonl", losses.FILE) for path in sorted(folder.glob(pattern))]


def _cost(path: Path) -> Spent:
    if path.name == losses.FILE:
        return Spent(*losses.total(path))
    total = Spent()
    for answer, cost_usd in _read(path):
        total += Spent(answer.num_prompt_tokens + answer.num_completion_tokens, cost_usd or 0.0)
    return total


def _finish_closing(folder: Path) -> None:
    """Remove the files that were counted before a kill, so that none of them is written to."""
    total, counted = _closed(folder)
    if counted:
        for name in counted:
            (folder / name).unlink(missing_ok=True)
        _write_closed(folder, total, [])


def _closed(folder: Path) -> tuple[Spent, list[str]]:
    """What a closed journal cost, and the files that are counted in it and not removed yet."""
    try:
        said = json.loads((folder / CLOSED).read_bytes())
        return Spent(int(said["tokens"]), float(said["usd"])), [str(name) for name in said["counted"]]
    except FileNotFoundError:
        return Spent(), []
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(
            f"{folder / CLOSED} is damaged ({error}), so nobody knows what was spent before. Restore it, or remove it "
            "if no budget counts on it"
        ) from None


def _write_closed(folder: Path, total: Spent, counted: list[str]) -> None:
    said = {"tokens": total.tokens, "usd": total.usd, "counted": counted}
    write_text(folder / CLOSED, json.dumps(said) + "\n")


def _read(path: Path) -> Iterator[tuple[Answer, float | None]]:
    if not path.exists():
        return
    with open(path, "rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                return  # cut by a kill; it is removed before more is written
            try:
                record: dict[str, Any] = json.loads(line)
            except ValueError:
                continue  # never written by a disk that lost power
            cost_usd = record.pop("cost_usd", None)
            yield _answer(record), cost_usd


def _is_unreadable(line: bytes) -> bool:
    try:
        return not isinstance(json.loads(line), dict)
    except ValueError:
        return True


def _answer(record: dict[str, Any]) -> Answer:
    if "probabilities" not in record:
        return Completion(**record)
    rows, masses = record["probabilities"], record.get("masses")
    lists = {
        "probabilities": None if rows is None else tuple(map(tuple, rows)),
        "masses": None if masses is None else tuple(masses),
    }
    return ChoiceCompletion(**record | lists)


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(path, end)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file it was: an error of a write, as on a full disk, does not know its name."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
