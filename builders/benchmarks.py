"""benchmarks: one row is one benchmark task, read from a file or a Hub dataset of the recipe.

In: a benchmark in any layout of `builders/harness/layouts.py`. Out: `benchmarks/benchmark-NAME`.
Two functions need no store: `named` understands how a benchmark is written on the command line,
and `tasks` reads its tasks.

    for task in tasks(named("humaneval=HumanEval.jsonl.gz")):
        print(task.task_id)
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
from builders.harness.tasks import Task
from builders.recipe import Benchmark
from store import CONTRACTS, Plan, Record, Store, content_id
from store.errors import MissingError

_SPEC = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*)=)?(?P<path>.+)", re.DOTALL)
_HUB = re.compile(r"(?P<path>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.-]+))?\Z")


def check(benchmark: Benchmark) -> None:
    """Raise MissingError, before any work, when the path can be neither a file nor a dataset."""
    try:
        check_place(benchmark.path)
    except FileNotFoundError as error:
        raise MissingError(f"benchmark {benchmark.name!r}: {error} In a recipe, paths are relative to it.") from None


def named(text: str) -> Benchmark:
    """The benchmark that `[NAME=]FILE` or `[NAME=]HUB_ID[:CONFIG][@SPLIT]` means.

    Without NAME, its name is made from the file or the id.

    Example:
        named("HumanEval.jsonl.gz").name  # humaneval
        named("google-research-datasets/mbpp:full").name  # mbpp-full
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
    """The tasks as rows of the table, with the benchmark's name but without `file_hash`."""
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


def task_of(row: dict[str, Any]) -> Task:
    """The task of a row of the table."""
    return Task(**{name: row[name] for name in ("task_id", "prompt", "solution", "tests", "entry_point", "language")})


def build(store: Store, benchmark: Benchmark) -> Record:
    """Read one benchmark."""
    check(benchmark)
    digest = _digest(benchmark)
    plan = Plan(table="benchmarks", partition={"benchmark": benchmark.name}, fields={"file_hash": digest}, num_shards=1)
    return store.materialize(plan, lambda index: _table(benchmark, digest))


def _digest(benchmark: Benchmark) -> str:
    """The SHA-256 of a file. For a dataset folder or a Hub dataset, a hash of its tasks."""
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
