"""Rows that a build reads once, puts in order, and then reads again piece by piece.

In: a plan, the rows of one query in any order, and the columns to sort by. Out: a Parquet file in
the store's scratch folder, and from it the rows at any places. So a query over millions of texts
runs once, and not once per shard.

    def rows():
        return queries.stream(connect(store, plan.inputs, **SMALL), "candidates_to_score", values)

    with staged(store, plan, rows, by=("snippet_id", "item_id")) as items:
        store.materialize(plan, lambda shard: made_of(items.rows(shard * size, (shard + 1) * size)))

How rows are sorted: their keys alone are sorted in memory, so the place of each row is known. Then
each row goes to the file of its bucket, which holds the rows of some thousand places, and each
bucket is sorted in memory. DuckDB could sort them, but needs memory that grows with their number:
3.2 million rows of 3 kB did not fit in 512 MB, with all it had moved to the disk.

The file appears whole or not at all. It stays when a build is killed or fails, so that the next try
goes on with it, and it goes when the block ends well. Each partition has at most one: that of
another plan is removed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store.runs import Plan
from store.shards import rechunk
from store.store import Store, segments


class Limits(TypedDict):
    """What a connection may take: see `store.catalog.connect`."""

    memory_limit: str
    threads: int


SMALL = Limits(memory_limit="384MB", threads=2)
"""For the connection whose query is staged. Each thread takes memory of its own, so that with more
of them a join of texts would not fit."""
ROWS_PER_BUCKET = 32_768
"""Rows that are sorted together. Two kilobytes of text a row are 64 MB."""
ROWS_PER_GROUP = 1024
"""Rows that are read together. Two kilobytes of text a row are 2 MB."""
GROUPS_HELD = 8
"""Whoever asks a model and whoever writes its answers read the same rows, one soon after the other.
So the last groups are kept as they are: what the first has read is handed on to the second."""


class Staged:
    """The staged rows of one build. Several threads may read them.

    Another process opens the file for itself: `Staged(path).rows(0, 10)`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._file = pq.ParquetFile(self.path)
        self._held: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def num_rows(self) -> int:
        """All rows."""
        return int(self._file.metadata.num_rows)

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The rows at the places `start` (included) to `stop` (excluded), as dictionaries.

        Behind the last place there are none.
        """
        start, stop = max(0, start), min(stop, self.num_rows)
        if start >= stop:
            return []
        groups = range(start // ROWS_PER_GROUP, -(-stop // ROWS_PER_GROUP))
        with self._lock:
            found = [row for group in groups for row in self._group(group)]
        first = groups.start * ROWS_PER_GROUP
        return found[start - first : stop - first]

    def _group(self, group: int) -> list[dict[str, Any]]:
        if group not in self._held:
            self._held[group] = self._file.read_row_group(group, use_threads=False).to_pylist()
            if len(self._held) > GROUPS_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(group)
        return self._held[group]


@contextmanager
def staged(store: Store, plan: Plan, rows: Callable[[], pa.RecordBatchReader], by: Sequence[str]) -> Iterator[Staged]:
    """The rows of a build, sorted by these columns, which together are unique.

    `rows` is called only if an earlier try has not staged them already.
    """
    folder = Path(store.scratch("staged"), *segments(plan.table, plan.partition).split("/"))
    path = folder / f"{plan.fingerprint}.parquet"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write(path, rows(), by)
    yield Staged(path)
    shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, rows: pa.RecordBatchReader, by: Sequence[str]) -> None:
    """Write the rows in groups of ROWS_PER_GROUP, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        with pq.ParquetWriter(handle, rows.schema, compression="lz4") as writer:
            batches = (batch for table in _in_order(rows, by, path.parent) for batch in table.to_batches())
            for table in rechunk(batches, rows.schema, ROWS_PER_GROUP):
                writer.write_table(table)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _in_order(rows: pa.RecordBatchReader, by: Sequence[str], folder: Path) -> Iterator[pa.Table]:
    """The rows as tables, one after the other in the order of the columns `by`."""
    unsorted, keys = folder / "unsorted.arrow", []
    with pa.ipc.new_stream(unsorted, rows.schema, options=_LZ4) as writer:
        for batch in rows:
            writer.write_batch(batch)
            # a copy: any array of a batch that DuckDB gave keeps the texts of the whole batch
            keys.append(batch.select(by).take(pa.array(np.arange(batch.num_rows))))
    if not keys:
        return
    order = pc.sort_indices(pa.Table.from_batches(keys), sort_keys=[(name, "ascending") for name in by]).to_numpy()
    del keys
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    num_buckets = -(-len(order) // ROWS_PER_BUCKET)
    for bucket in scattered(_placed(unsorted, places), _bucket_of_place, num_buckets, folder):
        yield bucket.take(np.argsort(bucket[_PLACE].to_numpy())).drop_columns(_PLACE)


_PLACE = "_place"
_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")


def _placed(path: Path, places: np.ndarray) -> Iterator[pa.Table]:
    """The batches of a file with the place of each row. The file is removed."""
    first = 0
    with _opened(path) as reader:
        for batch in reader:
            of_batch = places[first : first + batch.num_rows]
            yield pa.Table.from_batches([batch]).append_column(_PLACE, pa.array(of_batch))
            first += batch.num_rows
    path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    """A file of batches. By its name, Arrow would map it: then all of it counts as our memory."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
        yield reader


def _bucket_of_place(rows: pa.Table) -> np.ndarray:
    return rows[_PLACE].to_numpy() // ROWS_PER_BUCKET


def scattered(
    tables: Iterable[pa.Table], bucket_of: Callable[[pa.Table], np.ndarray], num_buckets: int, folder: Path
) -> Iterator[pa.Table]:
    """The rows of each bucket as one table, bucket after bucket, in the order in which they came.

    `bucket_of` gives the bucket of each row of a table, from 0 to `num_buckets` (excluded). Each
    row is written to a file in `folder` once and read once, so memory holds one bucket, however
    many there are. A bucket without rows is left out.
    """
    paths = [folder / f"bucket-{number:05d}.arrow" for number in range(num_buckets)]
    with ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for table in tables:
            buckets = bucket_of(table)
            order = np.argsort(buckets, kind="stable")
            together, ends = table.take(order), np.searchsorted(buckets[order], np.arange(num_buckets + 1))
            for number in np.flatnonzero(np.diff(ends)).tolist():
                if number not in writers:
                    made = pa.ipc.new_stream(paths[number], table.schema, options=_LZ4)
                    writers[number] = stack.enter_context(made)
                writers[number].write_table(together.slice(ends[number], ends[number + 1] - ends[number]))
    for number in sorted(writers):
        with _opened(paths[number]) as reader:
            yield reader.read_all()
        paths[number].unlink()
