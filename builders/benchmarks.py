"""benchmarks: one row is one benchmark task, read from a file or a Hub dataset of the recipe.

In: a benchmark in any layout of `builders/harness/layouts`. Out: `benchmarks/benchmark-NAME`.
Three functions need no store: `named` understands how a benchmark is written on the command line,
`tasks` reads its tasks, and `task_of` makes a task of a row of the table.

    for task in tasks(named("humaneval=HumanEval.jsonl.gz")):
        print(task.task_id)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders.datasets.places import parted
from builders.datasets.rows import FILE_SUFFIXES, check_place, rows
from builders.engines import prompts
from builders.harness.files import read_tasks
from builders.harness.questions import PROMPTS
from builders.harness.tasks import Case, Task
from builders.recipe import Benchmark
from store import CONTRACTS, Plan, Record, Store, check_name, content_id
from store.errors import InputError, MissingError
from store.shards import shard_name

ROWS_PER_PART = 50

_COLUMNS = tuple(field.name for field in fields(Task))
_SPEC = re.compile(r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)=)?(?P<path>.+)", re.DOTALL)


def check(benchmark: Benchmark) -> None:
    """Raise MissingError, before any work, when the path can be neither a file nor a dataset."""
    try:
        check_place(benchmark.path)
    except FileNotFoundError as error:
        raise MissingError(f"benchmark {benchmark.name!r}: {error} In a recipe, paths are relative to it.") from None


def named(text: str) -> Benchmark:
    """The benchmark that `[NAME=]FILE` or `[NAME=]HUB_ID[:CONFIG][@SPLIT]` means.

    NAME may be in upper case and becomes lower case, as all names of benchmarks are. Without NAME,
    its name is made from the file or the id. InputError for a NAME that may not be.

    Example:
        named("HumanEval.jsonl.gz").name  # humaneval
        named("HumanEval=tasks.jsonl").name  # humaneval
        named("google-research-datasets/mbpp:full").name  # mbpp-full
    """
    spec = _SPEC.fullmatch(text)
    before, sign, _ = text.partition("=")
    if sign and "/" not in before and not Path(text).exists():
        check_name(before.lower(), "benchmark name")
    if Path(text).exists() or spec is None:
        return Benchmark(name=_name_of(text), path=text)
    name, path = (spec["name"] or "").lower(), spec["path"]
    found = parted(path)
    called = "-".join(part for part in (found.path, found.config) if part)
    return Benchmark(name=name or _name_of(called), path=found.path, config=found.config, split=found.split)


def tasks(benchmark: Benchmark) -> Iterator[Task]:
    """The tasks of a benchmark, in its order, of the contests in its window.

    InputError where a window leaves no task, or where no task has a date.
    """
    check(benchmark)
    found = read_tasks(benchmark.path, config=benchmark.config, split=benchmark.split, revision=benchmark.revision)
    if benchmark.contest_from is None and benchmark.contest_until is None:
        return found
    return _in_window(benchmark, found)


def _in_window(benchmark: Benchmark, found: Iterable[Task]) -> Iterator[Task]:
    first, last = benchmark.contest_from or date.min, benchmark.contest_until or date.max
    dates = []
    num_inside = 0
    for task in found:
        if task.contest_date is None:
            continue
        dates.append(task.contest_date)
        if first.isoformat() <= task.contest_date <= last.isoformat():
            num_inside += 1
            yield task
    place = f"benchmark {benchmark.name!r} ({benchmark.path})"
    if not dates:
        raise InputError(
            f"{place}: no task has a contest_date: leave out contest_from and contest_until (--from and --until)"
        )
    if not num_inside:
        raise InputError(
            f"{place}: no contest is from {first} to {last}, they are from {min(dates)} to {max(dates)}: "
            "change contest_from or contest_until (--from and --until)"
        )


def task_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """The tasks as rows of the table, with the benchmark's name but without `file_hash`."""
    return [_row(benchmark, task) for task in tasks(benchmark)]


def task_of(row: Mapping[str, Any]) -> Task:
    """The task of a row of the table. Columns that are absent have their default.

    Example:
        [task_of(row) for part in store.read("benchmarks") for row in part.to_pylist()]
    """
    values = {column: row[column] for column in _COLUMNS if column in row}
    if "cases" in values:
        values["cases"] = tuple(Case(case["input"], case["output"]) for case in values["cases"])
    if "stops" in values:
        values["stops"] = tuple(values["stops"])
    return Task(**values)


def built(store: Store, benchmark: str) -> Iterator[Task]:
    """The tasks of a benchmark in the store, one after the other.

    Example:
        [task.task_id for task in built(store, "humaneval")]
    """
    where = {"benchmark": benchmark}
    store.input("benchmarks", **where)
    record = store.record("benchmarks", **where)
    assert record is not None
    for shard in record.shards:
        path = Path(store.directory("benchmarks", **where), shard_name(shard.index))
        yield from map(task_of, rows(path))


def build(store: Store, benchmark: Benchmark) -> Record:
    """Read one benchmark."""
    check(benchmark)
    digest = _digest(benchmark)
    window = benchmark.model_dump(mode="json", include={"contest_from", "contest_until"}, exclude_none=True)
    plan = Plan(
        table="benchmarks",
        partition={"benchmark": benchmark.name},
        fields={"file_hash": digest} | window,
        texts=prompts.versions(*PROMPTS),
        num_shards=1,
    )
    return store.materialize(plan, lambda index: _table(benchmark, digest))


def _digest(benchmark: Benchmark) -> str:
    """The SHA-256 of a file. For a dataset folder or a Hub dataset, a hash of its tasks."""
    path = Path(benchmark.path)
    if path.is_file():
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    return content_id(*(repr(task) for task in tasks(benchmark)))


def _table(benchmark: Benchmark, digest: str) -> pa.Table:
    """The rows in parts: the texts of one Arrow array are at most 2 GiB long."""
    schema = CONTRACTS["benchmarks"].schema
    made = (_row(benchmark, task) | {"file_hash": digest} for task in tasks(benchmark))
    parts = iter(lambda: list(islice(made, ROWS_PER_PART)), [])
    return pa.concat_tables([pa.Table.from_pylist(part, schema=schema) for part in parts])


def _row(benchmark: Benchmark, task: Task) -> dict[str, Any]:
    row = {column: getattr(task, column) for column in _COLUMNS}
    row["cases"] = [{"input": case.input, "output": case.output} for case in task.cases]
    return {"benchmark": benchmark.name, **row, "stops": list(task.stops)}


def _name_of(place: str) -> str:
    """The last part of a path or id without its suffixes, in the letters that a name may have."""
    name = Path(place).name.lower()
    while Path(name).suffix in FILE_SUFFIXES:
        name = Path(name).stem
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-_") or "benchmark"
