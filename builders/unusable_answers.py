"""unusable_answers: one row is one answer of the teacher that gave no sample.

In: the answers of a teacher, kept beside the shards of `teacher_samples` while these are built.
Out: `unusable_answers`, with the text of each answer, its status and what is wrong with it.

    SELECT status, reason, answer FROM unusable_answers LIMIT 3

How: `keep` writes the unusable answers of a shard into `_runs/_scratch/unusable-<plan>/` before the
samples of that shard are written. So a killed build loses none. `build` makes the table of them
when the samples are complete.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.teacher import rows as teacher_rows
from builders.teacher.unusable_share import NUM_EXAMPLES, seen
from store import Plan, Record, Store
from store.counts import counted
from store.errors import JobError, MissingError


def keep(store: Store, samples: Plan, shard: int, rows: list[dict[str, Any]]) -> None:
    """Keep those of a shard's rows that are no samples. `samples` is the plan of the samples."""
    folder = _folder(store, samples)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{shard:05d}.parquet"
    working = path.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(teacher_rows.unusable(rows), working)
    working.replace(path)


def build(store: Store) -> Record:
    """Make the table of what was kept beside the samples."""
    inputs = store.input("teacher_samples")
    plan = Plan(table="unusable_answers", inputs=inputs)
    return store.materialize_stream(plan, lambda: _kept(store))


def require_usable(store: Store) -> None:
    """JobError, with the reasons, where no answer of the teacher is a sample."""
    record = store.record("teacher_samples")
    if not store.builds or record is None or record.rows or not store.is_complete("unusable_answers"):
        return
    rows = [row for part in store.read("unusable_answers") for row in part.to_pylist()]
    counts = Counter(row["status"] for row in rows).most_common()
    examples = "".join(
        f"\n  {row['status']}: {row['reason']}: {seen(row['answer'], row['reasoning'])}" for row in rows[:NUM_EXAMPLES]
    )
    raise JobError(
        f"none of the {counted(len(rows), 'answer')} of the teacher is a problem with a valid solution "
        f"({', '.join(f'{status}: {number:,}' for status, number in counts)}), such as:{examples}\n"
        "All answers are in the table unusable_answers. Mend the prompt or the server, and give "
        "`scoder ask-again`, or take another teacher and run with --force"
    )


def _kept(store: Store) -> Iterator[pa.RecordBatch]:
    record = store.record("teacher_samples")
    assert record is not None, "the input of the plan is built"
    paths = sorted(_folder(store, record.plan).glob("part-*.parquet"))
    if not paths:
        raise MissingError(
            "the teacher's unusable answers are gone: they lay beside its samples while these were built. Build both "
            "again with `scoder run RECIPE --rebuild teacher_samples`: answers that are kept are not paid for again"
        )
    for path in paths:
        yield from pq.read_table(path).to_batches()


def _folder(store: Store, samples: Plan) -> Path:
    return Path(store.scratch(f"unusable-{samples.fingerprint}"))
