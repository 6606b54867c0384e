"""Decontamination of any dataset, without a store: `scoder contamination`.

In: a dataset in any form that `builders/datasets/rows.py` reads, and benchmarks. Out: two Parquet
files and a `Report`. In one file a row is a hit, with the key (row, benchmark, task_id, detector).
In the other a row is the verdict on one row of the dataset, with the key row. Both files appear
whole, at the end, or not at all.

How: batches of rows stream through the detectors, in this process or in several, and on request
through `builders/decontamination/execution`. Memory does not grow with the dataset.
`builders/datasets/texts.py` decides which columns are the text of a row and what its id is.

    report = check(Request(Benchmark(...), benchmarks=[...], hits="hits.parquet"))
    for line in report.lines(): print(line)
"""

from __future__ import annotations

import os
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import queries
from builders.benchmarks import task_rows
from builders.datasets import rows as dataset_rows
from builders.datasets import tables
from builders.datasets.texts import Batch, batches, text_columns, unread, wanted
from builders.decontamination import detectors, execution
from builders.decontamination.detectors import HITS, kept
from builders.recipe import Benchmark, Decontamination
from builders.recipe.files import checked, override
from store.counts import counted
from store.errors import InputError, JobError
from training.errors import loading

if TYPE_CHECKING:
    from builders.decontamination.meaning import Meaning

BATCH_ROWS = 2000

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


@dataclass(frozen=True)
class Request:
    """What is checked against what.

    `dataset` has the type of a benchmark only because that holds a name, a place and, for the Hub,
    where in the dataset the rows are.
    """

    dataset: Benchmark
    benchmarks: Sequence[Benchmark]
    settings: Decontamination = field(default_factory=Decontamination)
    columns: Sequence[str] = ()
    hits: str | None = None
    verdicts: str | None = None
    execute: bool = False
    workers: int = 1

    @property
    def is_executed(self) -> bool:
        """Whether functions are run, too: asked for here or in the settings."""
        return self.execute or self.settings.execution


@dataclass
class Report:
    """What was found: the counts of a check.

    Columns that were read, and those with text that were not; rows, rows without text (in which
    at least the answer could not be read) and contaminated rows; per (benchmark, detector) the
    rows with a hit and with a verdict; tasks, tasks that execution can use, the reasons why it
    cannot use the others, and what was executed.
    """

    columns: tuple[str, ...]
    not_read: tuple[str, ...] = ()
    num_rows: int = 0
    num_without_text: int = 0
    why_without_text: Counter[str] = field(default_factory=Counter)
    num_contaminated: int = 0
    with_hit: Counter[tuple[str, str]] = field(default_factory=Counter)
    with_verdict: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_tasks: int = 0
    is_executed: bool = False
    num_runnable: int = 0
    not_runnable: Counter[str] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)

    def rows(self) -> list[dict[str, Any]]:
        """The counts of each benchmark and detector, as a table."""
        return [
            {"benchmark": b, "detector": d, "rows with a hit": n, "rows with a verdict": self.with_verdict[b, d]}
            for (b, d), n in sorted(self.with_hit.items())
        ]

    def lines(self) -> list[str]:
        """The other counts, as sentences."""
        lines = [
            f"{self.num_contaminated:,} of {counted(self.num_rows, 'row')} {'is' if self.num_rows == 1 else 'are'} contaminated"
        ]
        if self.num_without_text:
            lines.append(f"{counted(self.num_without_text, 'row')} had no text and could not be checked: {self._why()}")
        if self.not_read:
            lines.append(f"columns with text that were not read: {', '.join(self.not_read)}. Name them with --text.")
        if self.is_executed:
            reasons = "; ".join(f"{n:,}: {reason}" for reason, n in self.not_runnable.most_common())
            lines += [
                f"{self.num_runnable:,} of {self.num_tasks:,} tasks can be run" + (f" ({reasons})" if reasons else "")
            ]
            lines += [", ".join(f"{n:,} {what}" for what, n in self.executed.items())]
        return lines

    def _why(self) -> str:
        return "; ".join(f"{reason} ({n:,})" for reason, n in self.why_without_text.most_common(3))

    def require_text(self, most: float) -> None:
        """JobError if a larger share of the rows than `most` has no text: nobody looked at them."""
        if self.num_without_text > most * self.num_rows:
            raise JobError(
                f"{self.num_without_text:,} of {counted(self.num_rows, 'row')} had no text in "
                f"{', '.join(self.columns)}, so they were not checked: {self._why()}. Name the columns with --text or "
                f"--columns, or allow it with --max-without-text (now {most:g})."
            )

    def as_dict(self) -> dict[str, Any]:
        """All counts, for programs."""
        counts = [{key.replace(" ", "_"): value for key, value in row.items()} for row in self.rows()]
        found: dict[str, Any] = {"columns": list(self.columns), "columns_not_read": list(self.not_read)}
        found |= {"rows": self.num_rows, "rows_without_text": self.num_without_text}
        found |= {"why_without_text": dict(self.why_without_text)}
        found |= {"contaminated": self.num_contaminated, "tasks": self.num_tasks, "detectors": counts}
        if self.is_executed:
            found |= {"runnable_tasks": self.num_runnable, "not_runnable": self.not_runnable, "executed": self.executed}
        return found


def check(request: Request, progress: Callable[[int], None] = lambda done: None) -> Report:
    """Check the dataset. `progress` is called with the number of rows done so far.

    ValueError where no column is known to hold text; it lists the columns.
    """
    _check_names(request.benchmarks)
    rows, columns, not_read = _rows_and_columns(request)
    tasks = [row for benchmark in request.benchmarks for row in task_rows(benchmark)]
    report = Report(columns, tuple(not_read), num_tasks=len(tasks), is_executed=request.is_executed)
    oracle = execution.record_oracle(tasks, request.workers) if request.is_executed else None
    if oracle is not None:
        report.num_runnable, report.not_runnable = len(oracle.tasks), oracle.left_out
    meaning = _meaning(request.settings, tasks)
    with _writers(request) as (write_hits, write_verdicts), duckdb.connect() as connection:
        parts = batches(rows, columns, BATCH_ROWS, are_named=bool(request.columns))
        for batch, found in _searched(parts, tasks, request.settings, request.workers):
            if meaning is not None:
                found = pa.concat_tables([found, meaning.hits(found, _keys(batch), batch.texts)])
            if oracle is not None:
                run = execution.hits(oracle, _keys(batch), batch.answers, request.workers, report.executed)
                found = pa.concat_tables([found, run])
            hits = _keyed(found, batch)
            report.why_without_text += batch.reasons
            report.columns = tuple(dict.fromkeys([*report.columns, *batch.read]))
            report.not_read = tuple(dict.fromkeys([*report.not_read, *batch.not_read]))
            verdicts = _verdicts(connection, batch, hits, request.settings.min_strength)
            if hits.num_rows:
                write_hits(hits)
            write_verdicts(verdicts)
            _count(report, hits, verdicts, request.settings.min_strength)
            progress(report.num_rows)
    return report


def _meaning(settings: Decontamination, tasks: list[dict[str, Any]]) -> Meaning | None:
    if settings.meaning is None:
        return None
    # It loads torch, which the other detectors do not need.
    from builders.decontamination.meaning import Meaning

    return Meaning(settings.meaning, tasks)


def _rows_and_columns(request: Request) -> tuple[Iterator[Any], tuple[str, ...], list[str]]:
    """All rows of the dataset, the columns with their text, and those with text that are not read.
    The first rows decide which these are.
    """
    path = Path(request.dataset.path)
    is_parquet = path.is_file() and tables.is_parquet(path)
    if is_parquet:
        _require_own_names(path)
    rows = _rows(request.dataset, None)
    head = list(islice(rows, tables.BATCH_ROWS))
    if not head:
        raise InputError(f"{request.dataset.path} has no rows: there is nothing to check")
    columns, are_named = text_columns(head, request.columns), bool(request.columns)
    not_read = unread(head, columns, are_named=are_named)
    if is_parquet:
        rows = _rows(request.dataset, wanted(head, columns, are_named=are_named))
        return rows, columns, not_read
    return chain(head, rows), columns, not_read


def _require_own_names(path: Path) -> None:
    """InputError where two columns have one name: only one of them would be read."""
    with loading(f"the Parquet file {path}"):
        names = pq.read_schema(path).names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: two columns are called {', '.join(twice)}. Give each its own name.")


def settings(overrides: Sequence[str]) -> Decontamination:
    """The default settings with the given `decontamination.key=value` items.

    ValueError for an item of another section.
    """
    raw = override({"decontamination": Decontamination().model_dump()}, list(overrides))
    if others := sorted(raw.keys() - {"decontamination"}):
        raise InputError(f"--set {others[0]}: this command only has the section decontamination")
    return checked(Decontamination, raw["decontamination"])


def num_rows(request: Request) -> int | None:
    """The rows of the dataset if they are known without reading it; for progress."""
    return dataset_rows.num_rows(request.dataset.path)


def _check_names(benchmarks: Sequence[Benchmark]) -> None:
    names = Counter(b.name for b in benchmarks)
    if not names:
        raise InputError("no benchmark is given. Name one with --benchmarks FILE_OR_HUB_ID.")
    if twice := sorted(n for n, count in names.items() if count > 1):
        raise InputError(f"two benchmarks are called {', '.join(twice)}. Give each its own name: NAME=FILE.")


def _rows(dataset: Benchmark, columns: Sequence[str] | None) -> Iterator[Any]:
    where: dict[str, Any] = {"config": dataset.config, "split": dataset.split, "revision": dataset.revision}
    return dataset_rows.rows(dataset.path, **where, columns=columns, usual_split="train")


# -- the detectors, in one process or several ------------------------------------------------------

_index: detectors.Index | None = None


def _searched(
    batches: Iterable[Batch], tasks: list[dict[str, Any]], settings: Decontamination, workers: int
) -> Iterator[tuple[Batch, pa.Table]]:
    """Each batch with its hits, in order; item_id is the row's number.

    At most two batches per worker are under way.
    """
    if workers <= 1:
        index = kept.index(tasks, settings, kept.own_folder())
        for batch in batches:
            yield batch, _hits(index, batch)
        return
    pending: deque[tuple[Batch, Future[pa.Table]]] = deque()
    with ProcessPoolExecutor(workers, get_context("spawn"), _make_index, (tasks, settings)) as pool:
        for batch in batches:
            pending.append((batch, pool.submit(_hits_in_worker, batch)))
            if len(pending) >= 2 * workers:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()


def _make_index(tasks: list[dict[str, Any]], settings: Decontamination) -> None:
    global _index
    _index = kept.index(tasks, settings, kept.own_folder())


def _hits_in_worker(batch: Batch) -> pa.Table:
    assert _index is not None, "the pool makes it when a worker starts"
    return _hits(_index, batch)


def _hits(index: detectors.Index, batch: Batch) -> pa.Table:
    return detectors.hits(index, _keys(batch), batch.texts)


def _keys(batch: Batch) -> pa.Array:
    """The places of the rows as ids, because the rows' own ids may repeat."""
    return batch.items["row"].cast(pa.string()).combine_chunks()


def _keyed(found: pa.Table, batch: Batch) -> pa.Table:
    """The hits with the rows' own ids, ordered by row, benchmark, task and detector."""
    row = found["item_id"].cast(pa.int64())
    start = batch.items["row"][0].as_py()
    ids = batch.items["item_id"].combine_chunks().take(pa.compute.subtract(row, start))
    columns = [ids, row, *(found[name] for name in HITS.names[1:])]
    keyed = pa.table(columns, schema=DATASET_HITS)
    return keyed.sort_by([(name, "ascending") for name in ("row", "benchmark", "task_id", "detector")])


def _verdicts(connection: duckdb.DuckDBPyConnection, batch: Batch, hits: pa.Table, min_strength: float) -> pa.Table:
    connection.register("dataset_items", batch.items)
    connection.register("dataset_hits", hits)
    return queries.table(connection, "dataset_verdicts", {"min_strength": min_strength}).cast(VERDICTS)


def _count(report: Report, hits: pa.Table, verdicts: pa.Table, min_strength: float) -> None:
    report.num_rows += verdicts.num_rows
    report.num_without_text += verdicts.num_rows - pa.compute.sum(verdicts["has_text"]).as_py()
    report.num_contaminated += pa.compute.sum(verdicts["is_contaminated"]).as_py()
    threshold = pa.scalar(min_strength, pa.float32())
    for counts, part in (
        (report.with_hit, hits),
        (report.with_verdict, hits.filter(pa.compute.greater_equal(hits["strength"], threshold))),
    ):
        for group in part.group_by(["benchmark", "detector"]).aggregate([("row", "count_distinct")]).to_pylist():
            counts[group["benchmark"], group["detector"]] += group["row_count_distinct"]


# -- files -----------------------------------------------------------------------------------------


@contextmanager
def _writers(request: Request) -> Iterator[tuple[Callable[[pa.Table], None], Callable[[pa.Table], None]]]:
    """Writers of the two files. Without a file name, what is written is dropped.

    The files get their names only when everything went well.
    """
    wanted = [(request.hits, DATASET_HITS), (request.verdicts, VERDICTS)]
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
