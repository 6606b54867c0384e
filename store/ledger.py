"""The run records of a store, read for people: what is there, what it cost, what is stale.

In: the folder of a store. Out: an `Entry` per partition. `store.runs` reads the same files as the
models that a build needs. That takes half a second of imports, and the commands that only look at a
store would wait for it. So this module needs nothing but the standard library.

    ledger = Ledger("store-data")
    [entry.where for entry in ledger.entries if entry.status == "stale"]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from store.errors import ContractError


@dataclass(frozen=True)
class Entry:
    """One partition: `where` is its path below the store, such as candidates/iteration-1."""

    table: str
    where: str
    status: str
    files: tuple[str, ...]
    rows: int
    bytes: int
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    started: float
    finished: float | None
    command: str
    code_version: str


class Ledger:
    """All partitions of a store, in the order in which they were begun.

    The records are read once, when they are first asked for. ContractError names a damaged one.
    """

    def __init__(self, path: str | Path):
        self.root = os.path.abspath(os.path.expanduser(path))

    def scratch(self, name: str) -> str:
        """The same folder as `Store.scratch`."""
        return f"{self.root}/_runs/_scratch/{name}"

    @cached_property
    def entries(self) -> list[Entry]:
        """One entry per partition."""
        written, current, found = {w: _read(path) for w, path in self._places()}, dict[str, str | None](), []
        for where, raw in written.items():
            try:
                found.append(self._entry(where, raw, _status(where, written, current)))
            except (LookupError, TypeError, AttributeError) as error:
                raise _damaged(f"{self.root}/_runs/{where}/record.json", error) from None
        return sorted(found, key=lambda entry: (entry.started, entry.where))

    def paths(self, table: str) -> list[str]:
        """The Parquet files of all complete or stale partitions of a table: what queries see."""
        return sorted(
            f"{self.root}/{entry.where}/{name}"
            for entry in self.entries
            if entry.table == table and entry.status != "building"
            for name in entry.files
        )

    def _places(self) -> Iterator[tuple[str, str]]:
        runs = f"{self.root}/_runs"
        for folder, inner, names in os.walk(runs):
            if folder == runs:
                inner[:] = [name for name in inner if name != "_scratch"]
            if "record.json" in names:
                yield os.path.relpath(folder, runs), f"{folder}/record.json"

    def _entry(self, where: str, raw: dict[str, Any], status: str) -> Entry:
        shards, usage = raw.get("shards", []), raw.get("usage", {})
        names = tuple(f"part-{shard['index']:05d}.parquet" for shard in shards)
        return Entry(
            table=raw["plan"]["table"],
            where=where,
            status=status,
            files=names,
            rows=sum(shard["rows"] for shard in shards),
            bytes=sum(_size(f"{self.root}/{where}/{n}", s) for n, s in zip(names, shards, strict=True)),
            seconds=usage.get("wall_s", 0.0),
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            cost_usd=usage.get("cost_usd"),
            started=raw.get("started", 0.0),
            finished=raw.get("finished"),
            command=raw.get("command", ""),
            code_version=raw.get("code_version", ""),
        )


def _read(path: str) -> Any:
    try:
        raw = json.loads(Path(path).read_bytes())
        raw["plan"].get("inputs", {}).items()  # others are judged by what this one says
        return raw
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: Exception) -> ContractError:
    return ContractError(
        f"{path} is damaged: {type(error).__name__}: {error}. Restore it, or remove it together with the files of its "
        "partition: the next run builds the partition again"
    )


def _size(path: str, shard: Mapping[str, Any]) -> int:
    """The bytes of a file: as its record says, or as it is on disk; 0 if it is not there."""
    if "size" in shard:
        return int(shard["size"])
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _status(where: str, written: Mapping[str, dict[str, Any]], current: dict[str, str | None]) -> str:
    """`building`, `complete`, or `stale`: an input has not the content that the plan names.

    It is the rule of `Store.record`, and a test holds both to the same answers.
    """
    said = str(written[where].get("status", "building"))
    return "stale" if said == "complete" and _content(where, written, current) is None else said


def _content(where: str, written: Mapping[str, dict[str, Any]], current: dict[str, str | None]) -> str | None:
    """The content of a complete partition that is not stale, else None.

    `current` are those looked at so far.
    """
    if where not in current:
        current[where] = None  # a partition that would come from itself is not current
        raw = written.get(where, {})
        inputs = raw.get("plan", {}).get("inputs", {})
        if raw.get("status") == "complete" and all(_content(i, written, current) == c for i, c in inputs.items()):
            current[where] = raw["content"]
    return current[where]
