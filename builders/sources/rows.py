"""Source files that are rows: JSON lines, Parquet, datasets of the Hub or of a local folder.

In: a `Source` and a shard. Out: one `SourceFile` per row. The default columns are those of The
Stack.

How: in JSON lines a shard starts at a noted byte, in Parquet at a row group, on the Hub too. So a
shard reads only its own rows. Compressed JSON lines, and Hub datasets that are not Parquet, can
only be read from the start of a file. There each file is one shard.
"""

from __future__ import annotations

import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from builders.recipe import Source
from builders.sources.bounds import TOO_MUCH, Bounded, TooMuchError, most_bytes
from builders.sources.files import (
    MAX_FILE_BYTES,
    UNKNOWN,
    License,
    Shard,
    SourceFile,
    content_of,
    file_of,
    paths_of,
    printable,
)
from store.errors import InputError
from training import hub
from training.errors import loading

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
MAX_LINE_BYTES = 8 * MAX_FILE_BYTES
"""A longer line of JSON lines is not kept in memory. JSON may need six bytes for one character, so
a file of the largest size can take more bytes than characters.
"""
_BATCH_ROWS = 32
_HEAD_ROWS = 100
"""So many rows of JSON lines tell which columns there are."""
# What stands in place of a row: a line that is too long, no JSON object, no UTF-8, or blank.
_TOO_LONG: dict[str, Any] = {}
_NO_JSON: dict[str, Any] = {}
_NO_UTF8: dict[str, Any] = {}
_BLANK: dict[str, Any] = {}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
"""What a file raises that is damaged, cut off or gone. The rows before that point still count."""


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of all files of rows, and what tells one listing from another."""
    if source.kind == "hub":
        return _hub_shards(source)
    found = paths(source)
    require_columns(source, list(found))
    cut = _parquet_shards if source.kind == "parquet" else _jsonl_shards
    return _limited(source, found, cut), [(name, content_of(path)) for path, name in found.items()]


CHECKED_FILES = 200


def paths(source: Source) -> dict[str, str]:
    """The files of JSON lines or of Parquet that a source names."""
    suffix = ".parquet" if source.kind == "parquet" else ".jsonl"
    return paths_of(source, tuple(suffix + packed for packed in ("", *COMPRESSED)))


def require_columns(source: Source, paths: list[str]) -> None:
    """InputError, with the columns that there are, if files of rows lack the columns of a source.

    Each file must have its content column, and some file the others that the recipe names. The
    first rows decide, of the first CHECKED_FILES files. A file that cannot be read is left to the
    run, which counts it.
    """
    others = ("path_column", "license_column", "repo_column")
    named = {field: getattr(source, field) for field in ("content_column", *others) if _is_named(source, field)}
    seen: dict[str, None] = {}
    columns = {path: _columns(source, path) for path in paths[:CHECKED_FILES]}
    for found in columns.values():
        seen |= dict.fromkeys(found)
    lacking = {field: column for field, column in named.items() if column not in seen}
    if seen and lacking:
        told = ", ".join(f"`{field}` {column!r}" for field, column in lacking.items())
        raise InputError(
            f"source {source.name!r}: no column for {told} in the first rows of {Path(paths[0]).name}"
            f"{f' and {len(paths) - 1:,} more' if len(paths) > 1 else ''}. The columns are "
            f"{printable(', '.join(seen))}. Name the right one in the recipe."
        )
    content = named["content_column"]
    if odd := next((path for path, found in columns.items() if found and content not in found), None):
        raise InputError(
            f"source {source.name!r}: no column `content_column` {content!r} in the first rows of {Path(odd).name}, which "
            f"other files have. Its columns are {printable(', '.join(dict.fromkeys(columns[odd])))}. Leave this file out, "
            "or give it a source of its own."
        )


def _is_named(source: Source, field: str) -> bool:
    return field == "content_column" or field in source.model_fields_set


def _columns(source: Source, path: str) -> list[str]:
    """The columns of a file; none for one that cannot be read."""
    try:
        if source.kind == "parquet" or path.endswith(".parquet"):
            with fsspec.open(path, "rb") as handle:
                return list(pq.read_schema(handle).names)
        with _opened(source, path) as handle:
            return [column for line in islice(_lines(handle), _HEAD_ROWS) for column in _json_row(line)]
    except (TooMuchError, *_BROKEN):
        return []


def has_no_object(source: Source, path: str) -> bool:
    """Whether none of the first lines of a file, which can be read, is a JSON object."""
    try:
        with _opened(source, path) as handle:
            lines = islice(_lines(handle), _HEAD_ROWS)
            return not any(line is None or _json_row(line) for line in lines)
    except (TooMuchError, *_BROKEN):
        return False


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard. A damaged file ends in one whose `error` says so."""
    number = shard.start
    try:
        for row in _rows(source, shard):
            if row is not _BLANK:
                yield _from_row(source, shard, number, row)
            number += 1
    except (TooMuchError, *_BROKEN) as error:
        reason = TOO_MUCH if isinstance(error, TooMuchError) else "broken_file"
        yield file_of(f"{shard.name or Path(shard.file).name}/from-row-{number}", None, None, UNKNOWN, reason)


def _limited(source: Source, paths: dict[str, str], cut: Any) -> list[Shard]:
    """The shards up to the source's limit of rows. Files behind the limit are not even opened."""
    found: list[Shard] = []
    left = source.max_files
    for path, name in paths.items():
        for shard in cut(source, path, source.files_per_shard, left):
            found.append(Shard(path, start=shard[0], stop=shard[1], offset=shard[2], name=name))
        if left is not None:
            left -= sum((s.stop or 0) - s.start for s in found if s.file == path)
            if left <= 0:
                break
    return found


def _rows(source: Source, shard: Shard) -> Iterator[dict[str, Any]]:
    if source.kind == "jsonl":
        return _jsonl_rows(source, shard)
    if source.kind == "parquet" or shard.file.endswith(".parquet"):
        columns = (source.content_column, source.path_column, source.license_column, source.repo_column)
        return _parquet_rows(shard, columns)
    return _streamed_rows(source, shard)


def _from_row(source: Source, shard: Shard, number: int, row: dict[str, Any]) -> SourceFile:
    text = row.get(source.content_column)
    repo = printable(str(row.get(source.repo_column) or ""))
    inside = row.get(source.path_column)
    # many repositories have a setup.py: the repository makes the path unique
    numbered = f"{shard.name}/row-{number}" if shard.name else f"row-{number}"
    path = printable(f"{repo}/{inside}" if repo and inside else str(inside or numbered))
    license_ = _license(source, row)
    error = None
    if row is _NO_JSON or row is _NO_UTF8:
        error = "no_json" if row is _NO_JSON else "no_utf8"
    elif row is _TOO_LONG or (isinstance(text, str) and len(text) > MAX_FILE_BYTES):
        error = "too_large"
    elif not isinstance(text, str):
        error = "no_content"
    elif "\0" in text:
        error = "null_bytes"
    return file_of(path, None if error else text, repo or None, license_, error)


def _license(source: Source, row: dict[str, Any]) -> License:
    """What a row says about its licence, else what the recipe declares.

    A row with an empty licence is of others, who did not say: its licence is unknown, by the
    dataset.
    """
    found = row.get(source.license_column)
    if found:
        return License(", ".join(map(str, found)) if isinstance(found, list) else str(found), "dataset")
    if source.license:
        return License(source.license, "declared")
    return License("unknown", "dataset" if source.license_column in row else "none")


# -- JSON lines ------------------------------------------------------------------------------------


def _jsonl_shards(source: Source, path: str, size: int, limit: int | None) -> list[tuple[int, int | None, int]]:
    if Path(path).suffix in COMPRESSED:
        if limit is None:
            return [(0, None, 0)]
        try:
            with _opened(source, path) as handle:
                return [(0, sum(1 for _ in islice(_lines(handle), limit)), 0)]
        except (TooMuchError, *_BROKEN):
            return [(0, limit, 0)]
    found = Path(path).stat()
    total, offsets = _line_offsets(path, size, found.st_size, found.st_mtime_ns)
    total = total if limit is None else min(total, limit)
    return [(n * size, min((n + 1) * size, total), at) for n, at in enumerate(offsets) if n * size < total or n == 0]


@lru_cache(maxsize=256)
def _line_offsets(path: str, size: int, num_bytes: int, mtime_ns: int) -> tuple[int, list[int]]:
    """The number of lines, and where every `size`-th line starts.

    The arguments `num_bytes` and `mtime_ns` are part of the cache key.
    """
    import numpy as np

    offsets, lines, position, last = [0], 0, 0, b"\n"
    with open(path, "rb") as handle:
        while block := handle.read(1 << 22):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
            wanted = np.arange(size - 1 - lines % size, len(ends), size)
            offsets += (ends[wanted] + position + 1).tolist()
            lines, position, last = lines + len(ends), position + len(block), block[-1:]
    if last != b"\n":
        lines += 1
    return lines, [at for at in offsets if at < position or at == 0]


def _jsonl_rows(source: Source, shard: Shard) -> Iterator[dict[str, Any]]:
    with _opened(source, shard.file) as handle:
        if shard.offset:
            handle.seek(shard.offset)
        for line in islice(_lines(handle), None if shard.stop is None else shard.stop - shard.start):
            yield _json_row(line)


@contextmanager
def _opened(source: Source, path: str) -> Iterator[Any]:
    packing = COMPRESSED.get(Path(path).suffix)
    if packing == "zstd":  # Arrow's reader notices when a file is cut off
        with pa.input_stream(path, compression=packing) as stream, io.BufferedReader(stream) as handle:
            yield Bounded(handle, most_bytes(source, path))
    else:
        with fsspec.open(path, "rb", compression=packing) as handle:
            yield Bounded(handle, most_bytes(source, path)) if packing else handle


def _lines(handle: Any) -> Iterator[bytes | None]:
    """The lines; None for a line that is too long."""
    while line := handle.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line


def _json_row(line: bytes | None) -> dict[str, Any]:
    if line is None:
        return _TOO_LONG
    if not line.strip():
        return _BLANK
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _NO_UTF8
    except (ValueError, RecursionError):
        return _NO_JSON
    return row if isinstance(row, dict) else _NO_JSON


# -- Parquet ---------------------------------------------------------------------------------------


def _parquet_shards(source: Source, path: str, size: int, limit: int | None) -> list[tuple[int, int | None, int]]:
    """Whole row groups, as many as make `size` rows. To start inside a group one would read all of
    it.
    """
    try:
        with fsspec.open(path, "rb") as handle:
            metadata = pq.read_metadata(handle)
    except pa.ArrowInvalid:
        return [(0, 1, 0)]  # one shard, whose reader then reports the file as broken
    total = metadata.num_rows if limit is None else min(metadata.num_rows, limit)
    found, start, group, rows = [], 0, 0, 0
    for number in range(metadata.num_row_groups):
        rows += metadata.row_group(number).num_rows
        if rows - start >= size or rows >= total:
            found.append((start, min(rows, total), group))
            start, group = rows, number + 1
        if rows >= total:
            break
    return found or [(0, 0, 0)]


def _parquet_rows(shard: Shard, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    left = (shard.stop or 0) - shard.start
    with fsspec.open(shard.file, "rb") as handle:
        file = pq.ParquetFile(handle, buffer_size=1 << 20)
        there = [c for c in columns if c in file.schema_arrow.names]
        if not there:
            yield from ({} for _ in range(left))
            return
        groups = range(shard.offset, file.metadata.num_row_groups)
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=there, use_threads=False):
            yield from batch.slice(0, left).to_pylist()
            left -= batch.num_rows
            if left <= 0:
                return


# -- datasets --------------------------------------------------------------------------------------


def _hub_shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of a dataset: of its Parquet files, else one per file, read through `datasets`."""
    builder = _builder(source)
    paths = [str(p) for p in (builder.config.data_files or {}).get(source.split, [])]
    identity = [source.dataset, source.revision, source.data_dir, source.split]
    if not paths:
        known = ", ".join(map(str, builder.config.data_files or {})) or "none"
        raise InputError(
            f"source {source.name!r}: {source.dataset} has no split {source.split!r}. Its splits are: {known}."
        )
    contents = [(Path(p).name, content_of(p)) if Path(p).exists() else p for p in paths]
    if all(p.endswith(".parquet") for p in paths):
        require_columns(source, paths)
        found = _limited(source, {p: Path(p).name if len(paths) > 1 else "" for p in paths}, _parquet_shards)
        return found, [*identity, contents, [(s.start, s.stop) for s in found]]
    if source.max_files is not None:
        return [Shard("", stop=source.max_files)], [*identity, contents]
    num_shards = _stream(source).num_shards
    names = [f"file-{n}" if num_shards > 1 else "" for n in range(num_shards)]
    return [Shard("", offset=n, name=name) for n, name in enumerate(names)], [*identity, contents]


def _builder(source: Source) -> Any:
    import datasets

    hub.require("dataset", str(source.dataset), source.revision)
    with loading(f"source {source.name!r}: the dataset {source.dataset}"):
        return datasets.load_dataset_builder(source.dataset, data_dir=source.data_dir, revision=source.revision)


def _stream(source: Source) -> Any:
    return _builder(source).as_streaming_dataset(split=source.split)


def _streamed_rows(source: Source, shard: Shard) -> Iterator[dict[str, Any]]:
    rows = _stream(source)
    if shard.stop is not None:
        return iter(rows.take(shard.stop))
    return iter(rows.shard(num_shards=rows.num_shards, index=shard.offset))
