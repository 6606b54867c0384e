"""Source files from local trees, JSONL, Parquet and Hub datasets, in fixed shards.

In: a `Source` of the recipe. Out: `shards(source)` (how many, and a fingerprint of what is listed) and
`files(source, index)`, the files of one shard with path, bytes, repository and licence. Unreadable files are yielded with an error.
"""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from builders.recipe import Source
from store import fingerprint

MAX_FILE_BYTES = 5_000_000
"""Larger files are data or generated code."""


@dataclass(frozen=True)
class SourceFile:
    """One file; `error` says why `text` is None."""

    path: str
    text: str | None
    repo: str | None
    license: str
    error: str | None = None


@dataclass(frozen=True)
class Listing:
    """How a source is cut into shards."""

    num_shards: int
    fingerprint: str


def listing(source: Source) -> Listing:
    """Number of shards and a fingerprint that changes with the listed files; a wrong path is a clear error."""
    if source.kind in ("stdlib", "tree"):
        entries = [(p, os.path.getsize(root / p)) for root in [tree_root(source)] for p in tree_paths(source)]
        if not entries:
            raise ValueError(f"source {source.name!r}: no .py files under {tree_root(source)}")
        return Listing(_ceil(len(entries), source.files_per_shard), fingerprint(entries))
    rows = _num_rows(source)
    identity = [source.path, source.dataset, source.revision, source.data_dir, source.split, rows]
    return Listing(_ceil(rows, source.files_per_shard), fingerprint(identity))


def files(source: Source, index: int) -> Iterator[SourceFile]:
    """The files of one shard."""
    start = index * source.files_per_shard
    if source.kind in ("stdlib", "tree"):
        root = tree_root(source)
        for path in tree_paths(source)[start : start + source.files_per_shard]:
            yield _read(root, path, source.license or ("PSF-2.0" if source.kind == "stdlib" else "unknown"))
        return
    for number, row in enumerate(_rows(source, start, _stop(source, start)), start):
        yield _from_row(source, number, row)


def tree_root(source: Source) -> Path:
    """The directory of a tree."""
    root = Path(sysconfig.get_paths()["stdlib"]) if source.kind == "stdlib" else Path(source.path or "")
    if not root.is_dir():
        raise FileNotFoundError(f"source {source.name!r}: no directory {root}")
    return root


def tree_paths(source: Source) -> list[str]:
    """Relative paths of the `.py` files of a tree, sorted; links are not followed."""
    root = tree_root(source)
    excluded = (*source.exclude, "site-packages") if source.kind == "stdlib" else source.exclude
    paths = []
    for folder, folders, names in os.walk(root, followlinks=False):
        folders.sort()
        for name in names:
            relative = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(".py") and not relative.startswith(excluded) and not os.path.islink(root / relative):
                paths.append(relative)
    return sorted(paths)[: source.max_files]


def _read(root: Path, path: str, license_: str) -> SourceFile:
    try:
        if os.path.getsize(root / path) > MAX_FILE_BYTES:
            return SourceFile(path, None, None, license_, "too_large")
        data = (root / path).read_bytes()
    except OSError:
        return SourceFile(path, None, None, license_, "unreadable")
    if b"\0" in data:
        return SourceFile(path, None, None, license_, "null_bytes")
    try:
        return SourceFile(path, data.decode("utf-8"), None, license_)
    except UnicodeDecodeError:
        return SourceFile(path, None, None, license_, "not_utf8")


def _from_row(source: Source, number: int, row: dict[str, Any]) -> SourceFile:
    text = row.get(source.content_column)
    path = str(row.get(source.path_column) or f"row-{number}")
    found = row.get(source.license_column) or source.license or "unknown"
    license_ = ", ".join(map(str, found)) if isinstance(found, list) else str(found)
    repo = row.get(source.repo_column)
    error = None
    if not isinstance(text, str):
        error = "no_content"
    elif "\0" in text:
        error = "null_bytes"
    return SourceFile(path, None if error else text, str(repo) if repo else None, license_, error)


def _stop(source: Source, start: int) -> int:
    stop = start + source.files_per_shard
    return min(stop, source.max_files) if source.max_files is not None else stop


def _num_rows(source: Source) -> int:
    if source.kind == "parquet":
        rows = pq.read_metadata(source.path).num_rows
    elif source.kind == "jsonl":
        with open(source.path or "", "rb") as handle:
            rows = sum(1 for _ in handle)
    else:
        rows = _hub_rows(source)
    return min(rows, source.max_files) if source.max_files is not None else rows


def _hub_rows(source: Source) -> int:
    if source.max_files is not None:
        return source.max_files
    import datasets

    builder = datasets.load_dataset_builder(source.dataset, data_dir=source.data_dir, revision=source.revision)
    splits = builder.info.splits
    if not splits or source.split not in splits:
        raise ValueError(f"source {source.name!r}: {source.dataset} does not say its size; set max_files")
    return splits[source.split].num_examples


def _rows(source: Source, start: int, stop: int) -> Iterator[dict[str, Any]]:
    if source.kind == "jsonl":
        with open(source.path or "", encoding="utf-8", errors="replace") as handle:
            for line in islice(handle, start, stop):
                yield _json_row(line)
    elif source.kind == "parquet":
        yield from _parquet_rows(source.path or "", start, stop)
    else:
        import datasets

        rows = datasets.load_dataset(
            source.dataset, data_dir=source.data_dir, revision=source.revision, split=source.split, streaming=True
        )
        yield from rows.skip(start).take(stop - start)


def _json_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def _parquet_rows(path: str, start: int, stop: int) -> Iterator[dict[str, Any]]:
    position = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1000):
        if position + batch.num_rows > start:
            yield from batch.slice(max(0, start - position), stop - max(position, start)).to_pylist()
        position += batch.num_rows
        if position >= stop:
            return


def _ceil(count: int, size: int) -> int:
    return max(1, -(-count // size))
