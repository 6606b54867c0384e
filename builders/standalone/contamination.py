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

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
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
from builders.decontamination import execution
from builders.decontamination.detectors import HITS
from builders.recipe import Benchmark, Decontamination
from builders.recipe.files import checked, override
from builders.standalone.contamination_report import Report
from builders.standalone.parallel_search import keys, searched
from builders.standalone.verdict_files import DATASET_HITS, VERDICTS, writers
from store.errors import InputError
from training.errors import loading

if TYPE_CHECKING:
    from builders.decontamination.meaning import Meaning

BATCH_ROWS = 2000


@dataclass(frozen=True)
class Request:
    """What is checked against what.

    `dataset` has the type of a benchmark only because that holds a name, a place and, for the Hub,
    where in the dataset the rows are. With `has_input` a column `input` is read beside the
    `columns`, where the dataset has one.
    """

    dataset: Benchmark
    benchmarks: Sequence[Benchmark]
    settings: Decontamination = field(default_factory=Decontamination)
    columns: Sequence[str] = ()
    has_input: bool = False
    hits: str | None = None
    verdicts: str | None = None
    execute: bool = False
    workers: int = 1

    @property
    def is_executed(self) -> bool:
        """Whether functions are run, too: asked for here or in the settings."""
        return self.execute or self.settings.execution


def check(request: Request, progress: Callable[[int], None] = lambda done: None) -> Report:
    """Check the dataset. `progress` is called with the number of rows done so far.

    ValueError where no column is known to hold text; it lists the columns.
    """
    _check_names(request.benchmarks)
    places = {b.name: dataset_rows.chosen(b.path, **_where(b)) for b in request.benchmarks}
    place = dataset_rows.chosen(request.dataset.path, **_where(request.dataset), usual_split="train")
    rows, columns, not_read = _rows_and_columns(request)
    tasks = [row for benchmark in request.benchmarks for row in task_rows(benchmark)]
    report = Report(columns, tuple(not_read), place, places, len(tasks), request.is_executed)
    oracle = execution.record_oracle(tasks, request.workers) if request.is_executed else None
    if oracle is not None:
        report.num_runnable, report.not_runnable = len(oracle.tasks), oracle.left_out
    meaning = _meaning(request.settings, tasks)
    with writers(request.hits, request.verdicts) as (write_hits, write_verdicts), duckdb.connect() as connection:
        parts = batches(rows, columns, BATCH_ROWS, are_named=bool(request.columns))
        for batch, found in searched(parts, tasks, request.settings, request.workers):
            if meaning is not None:
                found = pa.concat_tables([found, meaning.hits(found, keys(batch), batch.texts)])
            if oracle is not None:
                run = execution.hits(oracle, keys(batch), batch.answers, request.workers, report.executed)
                found = pa.concat_tables([found, run])
            hits = _keyed(found, batch)
            report.why_without_text += batch.reasons
            report.columns = tuple(dict.fromkeys([*report.columns, *batch.read]))
            report.not_read = tuple(dict.fromkeys([*report.not_read, *batch.not_read]))
            verdicts = _verdicts(connection, batch, hits, request.settings.min_strength)
            if hits.num_rows:
                write_hits(hits)
            write_verdicts(verdicts)
            report.count(hits, verdicts, request.settings.min_strength)
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
    if request.has_input and any(isinstance(row.get("input"), str) for row in head):
        columns = ("input", *columns)
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
    return dataset_rows.rows(dataset.path, **_where(dataset), columns=columns, usual_split="train")


def _where(dataset: Benchmark) -> dict[str, Any]:
    return {"config": dataset.config, "split": dataset.split, "revision": dataset.revision}


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
