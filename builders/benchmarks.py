"""benchmarks: one row per benchmark task, read from the files that the recipe names.

In: HumanEval-, MBPP-, BigCodeBench- or LiveCodeBench-like files. Out: `benchmarks/benchmark-NAME`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

from builders.benchmark_files import read_tasks
from builders.recipe import Benchmark
from store import CONTRACTS, Plan, Record, Store


def check(benchmark: Benchmark) -> Path:
    """The file of a benchmark; a FileNotFoundError before any work when it is absent."""
    path = Path(benchmark.path)
    if not path.is_file():
        raise FileNotFoundError(f"benchmark {benchmark.name!r}: no file {path}; paths are relative to the recipe")
    return path


def build(store: Store, benchmark: Benchmark) -> Record:
    """Read one benchmark file."""
    path = check(benchmark)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plan = Plan(table="benchmarks", partition={"benchmark": benchmark.name}, fields={"file_hash": digest}, num_shards=1)
    return store.materialize(plan, lambda index: _rows(benchmark.name, path, digest))


def _rows(name: str, path: Path, digest: str) -> pa.Table:
    rows = [
        {
            "benchmark": name,
            "task_id": task.task_id,
            "prompt": task.prompt,
            "solution": task.solution,
            "tests": task.tests,
            "entry_point": task.entry_point,
            "language": task.language,
            "file_hash": digest,
        }
        for task in read_tasks(str(path))
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["benchmarks"].schema)
