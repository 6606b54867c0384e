"""benchmarks: one row per benchmark task, read from the files and Hub datasets that the recipe names.

In: a benchmark in any layout of `builders/harness/layouts.py`. Out: `benchmarks/benchmark-NAME`; `tasks` gives the same
without a store, and `named` reads a benchmark from the command line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders.datasets.rows import FILE_SUFFIXES, check_place
from builders.harness.files import read_tasks
from builders.harness.programs import Task
from builders.recipe import Benchmark
from store import CONTRACTS, Plan, Record, Store, content_id
from store.errors import MissingError

_SPEC = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*)=)?(?P<path>.+)", re.DOTALL)
_HUB = re.compile(r"(?P<path>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.-]+))?\Z")


def check(benchmark: Benchmark) -> None:
    """A FileNotFoundError before any work for what can be neither a file nor a dataset."""
    try:
        check_place(benchmark.path)
    except FileNotFoundError as error:
        raise MissingError(f"benchmark {benchmark.name!r}: {error}; paths are relative to the recipe") from None


def named(text: str) -> Benchmark:
    """The benchmark of `[NAME=]FILE` or `[NAME=]HUB_ID[:CONFIG][@SPLIT]`; without a name it is called after its place.

    `HumanEval.jsonl.gz` is `humaneval`, `google-research-datasets/mbpp:full` is `mbpp-full`.
    """
    spec = _SPEC.fullmatch(text)
    if Path(text).exists() or spec is None:
        return Benchmark(name=_name_of(text), path=text)
    name, path = spec["name"], spec["path"]
    hub = None if Path(path).exists() else _HUB.match(path)
    if hub is None:
        return Benchmark(name=name or _name_of(path), path=path)
    called = "-".join(part for part in (hub["path"], hub["config"]) if part)
    return Benchmark(name=name or _name_of(called), path=hub["path"], config=hub["config"], split=hub["split"])


def tasks(benchmark: Benchmark) -> Iterator[Task]:
    """The tasks of a benchmark, in its order."""
    check(benchmark)
    return read_tasks(benchmark.path, config=benchmark.config, split=benchmark.split, revision=benchmark.revision)


def task_rows(benchmark: Benchmark) -> list[dict[str, Any]]:
    """The tasks with the benchmark's name, as the columns of the table without `file_hash`."""
    return [
        {
            "benchmark": benchmark.name,
            "task_id": task.task_id,
            "prompt": task.prompt,
            "solution": task.solution,
            "tests": task.tests,
            "entry_point": task.entry_point,
            "language": task.language,
        }
        for task in tasks(benchmark)
    ]


def build(store: Store, benchmark: Benchmark) -> Record:
    """Read one benchmark."""
    check(benchmark)
    digest = _digest(benchmark)
    plan = Plan(table="benchmarks", partition={"benchmark": benchmark.name}, fields={"file_hash": digest}, num_shards=1)
    return store.materialize(plan, lambda index: _table(benchmark, digest))


def _digest(benchmark: Benchmark) -> str:
    """SHA-256 of a file; for a dataset of many files a hash of its tasks."""
    path = Path(benchmark.path)
    if path.is_file():
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    return content_id(*(str(part) for task in tasks(benchmark) for part in astuple(task)))


def _table(benchmark: Benchmark, digest: str) -> pa.Table:
    rows = [row | {"file_hash": digest} for row in task_rows(benchmark)]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["benchmarks"].schema)


def _name_of(place: str) -> str:
    """The last part of a path or id without its suffixes, in the letters that a name may have."""
    name = Path(place).name.lower()
    while Path(name).suffix in FILE_SUFFIXES:
        name = Path(name).stem
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-_") or "benchmark"
