"""The two Parquet files of a check of a dataset: its hits, and its verdicts.

In: tables in the order of the rows. Out: files that appear whole, at the end, or not at all.

    with writers("hits.parquet", None) as (write_hits, write_verdicts): write_hits(table)
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builders.decontamination.detectors import HITS

DATASET_HITS = pa.schema([HITS.field("item_id"), pa.field("row", pa.int64(), nullable=False), *list(HITS)[1:]])
VERDICTS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("is_contaminated", pa.bool_(), nullable=False),
        pa.field("has_text", pa.bool_(), nullable=False),
        pa.field("num_hits", pa.int32(), nullable=False),
        pa.field("benchmark", pa.string()),
        pa.field("task_id", pa.string()),
        pa.field("detector", pa.string()),
        pa.field("strength", pa.float32()),
        pa.field("evidence", pa.string()),
    ]
)
"""benchmark to evidence are those of the strongest hit, NULL for a row without hits."""


@contextmanager
def writers(
    hits: str | None, verdicts: str | None
) -> Iterator[tuple[Callable[[pa.Table], None], Callable[[pa.Table], None]]]:
    """Writers of the two files. Without a file name, what is written is dropped.

    The files get their names only when everything went well.
    """
    wanted = [(hits, DATASET_HITS), (verdicts, VERDICTS)]
    temporary = {place: f"{place}.{uuid.uuid4().hex[:8]}.tmp" for place, _ in wanted if place}
    opened: list[pq.ParquetWriter] = []
    try:
        writes: list[Callable[[pa.Table], None]] = []
        for place, schema in wanted:
            if place is None:
                writes.append(lambda table: None)
                continue
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            opened.append(pq.ParquetWriter(temporary[place], schema, compression="zstd"))
            writes.append(opened[-1].write_table)
        yield writes[0], writes[1]
        for writer in opened:
            writer.close()
        for place, name in temporary.items():
            _sync(name)
            os.replace(name, place)
    finally:
        for writer in opened:
            writer.close()
        for name in temporary.values():
            Path(name).unlink(missing_ok=True)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
