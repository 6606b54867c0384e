"""Source files that are rows of Parquet, on this machine or on the Hub.

In: a path, or a shard. Out: its rows, with those of the wanted columns that there are.

How: a shard starts at a row group, so it reads only its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from builders.recipe import Source
from builders.sources.files import Shard

_BATCH_ROWS = 32


def cut(_: Source, path: str, size: int, limit: int | None) -> list[tuple[int, int | None, int]]:
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


def rows(shard: Shard, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
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


def columns(path: str) -> list[str]:
    """The names of a file's columns."""
    with fsspec.open(path, "rb") as handle:
        return list(pq.read_schema(handle).names)
