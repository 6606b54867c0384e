"""Source files from local trees, JSONL, Parquet and Hub datasets, in fixed shards.

In: a `Source` of the recipe. Out: `shards(source)` (how many, and a fingerprint of what is listed) and
`files(source, index)`, the files of one shard with path, bytes, repository and licence. Unreadable files are yielded with an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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
        entries = [(p, _content(tree_root(source) / p)) for p in tree_paths(source)]
        if not entries:
            raise ValueError(f"source {source.name!r}: no .py files under {tree_root(source)}")
        return Listing(_ceil(len(entries), source.files_per_shard), fingerprint(entries))
    if source.kind != "hub" and not Path(source.path or "").is_file():
        raise FileNotFoundError(f"source {source.name!r}: no file {source.path}")
    rows = _num_rows(source)
    content = None if source.kind == "hub" else _content(Path(source.path or ""))
    identity = [source.dataset, source.revision, source.data_dir, source.split, rows, content]
    return Listing(_ceil(rows, source.files_per_shard), fingerprint(identity))


def _content(path: Path) -> str:
    """Hash of a file's bytes; its size alone when it is larger than any source file that is read."""
    try:
        found = path.stat()
        if path.suffix == ".py" and found.st_size > MAX_FILE_BYTES:
            return str(found.st_size)
        return _hash(path, found.st_size, found.st_mtime_ns)
    except OSError:
        return "unreadable"


@cache
def _hash(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time are there for the cache: a plan is made several times in a run."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
        inside = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        folders[:] = sorted(f for f in folders if not f"{inside}{f}/".startswith(excluded))
        for name in names:
            path = os.path.join(folder, name)
            # a pipe or a socket with the name of a source file would block its reader
            is_plain = name.endswith(".py") and os.path.isfile(path) and not os.path.islink(path)
            if is_plain and not f"{inside}{name}".startswith(excluded):
                paths.append(f"{inside}{name}")
    return sorted(paths)[: source.max_files]


def _read(root: Path, path: str, license_: str) -> SourceFile:
    name = _printable(path)
    try:
        if os.path.getsize(root / path) > MAX_FILE_BYTES:
            return SourceFile(name, None, None, license_, "too_large")
        data = (root / path).read_bytes()
    except OSError:
        return SourceFile(name, None, None, license_, "unreadable")
    if b"\0" in data:
        return SourceFile(name, None, None, license_, "null_bytes")
    try:
        return SourceFile(name, data.decode("utf-8"), None, license_)
    except UnicodeDecodeError:
        return SourceFile(name, None, None, license_, "not_utf8")


def _printable(text: str) -> str:
    """Text that a table can hold: bytes of file names and escapes of JSON that are no characters are written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _from_row(source: Source, number: int, row: dict[str, Any]) -> SourceFile:
    text = row.get(source.content_column)
    repo = _printable(str(row.get(source.repo_column) or ""))
    inside = row.get(source.path_column)
    # many repositories have a setup.py: only with its repository is a path a place
    path = _printable(f"{repo}/{inside}" if repo and inside else str(inside or f"row-{number}"))
    found = row.get(source.license_column) or source.license or "unknown"
    license_ = _printable(", ".join(map(str, found)) if isinstance(found, list) else str(found))
    error = None
    if not isinstance(text, str):
        error = "no_content"
    elif "\0" in text:
        error = "null_bytes"
    return SourceFile(path, None if error else text, repo or None, license_, error)


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
        with open(source.path or "", "rb") as handle:
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


def _json_row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError):
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
