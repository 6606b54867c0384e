"""Rows that a build reads once, in their order, and then again piece by piece.

In: a plan, and the rows of one ordered query. Out: a Parquet file in the store's scratch folder,
and from it the rows at any places. So a query that sorts millions of texts runs once, and not once
per shard.

    with staged(store, plan, lambda: queries.stream(connection, "candidates_to_score")) as items:
        store.materialize(plan, lambda shard: made_of(items.rows(shard * size, (shard + 1) * size)))

The file appears whole or not at all. It stays when a build is killed or fails, so that the next try
goes on with it, and it goes when the block ends well. Each partition has at most one: that of
another plan is removed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.runs import Plan
from store.shards import rechunk
from store.store import Store, segments

SORT_MEMORY = "512MB"
"""For the connection whose query is staged: what does not fit is sorted on disk."""
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
def staged(store: Store, plan: Plan, rows: Callable[[], pa.RecordBatchReader]) -> Iterator[Staged]:
    """The rows of a build. `rows` is called only if an earlier try has not staged them already."""
    folder = Path(store.scratch("staged"), *segments(plan.table, plan.partition).split("/"))
    path = folder / f"{plan.fingerprint}.parquet"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write(path, rows())
    yield Staged(path)
    shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, rows: pa.RecordBatchReader) -> None:
    """Write the rows in groups of ROWS_PER_GROUP, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        with pq.ParquetWriter(handle, rows.schema, compression="lz4") as writer:
            for table in rechunk(rows, rows.schema, ROWS_PER_GROUP):
                writer.write_table(table)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
