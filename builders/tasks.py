"""Shards as tasks of datatrove's executors, so that a `sharded` table can be built by many processes or machines.

In: a store, a plan and the dotted name of a function `(store, plan, index) -> pyarrow.Table`. Out: the finished record.
datatrove stays at the edge: its own completion markers are ignored (the run record is the only truth) and its logging
directory is thrown away. Task arguments are store, table, partition and plan id; nothing secret is pickled.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from store import Plan, Record, Store, Usage
from store.lock import stop_with_coordinator
from store.runs import Partition

Make = Callable[[Store, Plan, int], pa.Table]


def function(dotted: str) -> Make:
    """`builders.raw_pool:shard` as the function it names."""
    module, name = dotted.split(":")
    return getattr(importlib.import_module(module), name)


def build_sharded(store: Store, plan: Plan, dotted: str, workers: int) -> Record:
    """Build all missing shards of a plan, in this process or in `workers` local ones."""
    record = store.begin(plan)
    if record is None:
        return store.record(plan.table, **plan.partition)  # type: ignore[return-value]
    start = time.monotonic()
    missing = store.missing(plan)
    if workers <= 1 or len(missing) <= 1:
        make = function(dotted)
        for index in missing:
            store.write(plan, index, make(store, plan, index))
    else:
        _run_tasks(store, plan, dotted, missing, workers)
    present = store.present(plan)
    if len(present) != plan.num_shards:
        lost = sorted(set(range(plan.num_shards or 0)) - present.keys())
        raise RuntimeError(f"{plan.table}: tasks failed for shards {lost}; run the same command again to resume")
    return store.finish(record, list(present.values()), record.usage.add(Usage(wall_s=time.monotonic() - start)))


def run_one(root: str, table: str, partition: Partition, plan_id: str, dotted: str, index: int) -> None:
    """One task: build one shard of the plan on record, in a worker that stops with its coordinator."""
    stop_with_coordinator(root)
    store = Store(root)
    record = store.record(table, **partition)
    if record is None or record.plan.fingerprint != plan_id:
        raise RuntimeError(f"{table}: the plan changed while its tasks ran")
    store.write(record.plan, index, function(dotted)(store, record.plan, index))


def _run_tasks(store: Store, plan: Plan, dotted: str, missing: list[int], workers: int) -> None:
    from datatrove.executor import LocalPipelineExecutor

    from builders.shard_step import ShardStep

    step = ShardStep(store.root, plan.table, dict(plan.partition), plan.fingerprint, dotted, missing)
    logs = tempfile.mkdtemp(prefix="scoder-tasks-")
    executor: Any = LocalPipelineExecutor(
        pipeline=[step], tasks=len(missing), workers=workers, skip_completed=False, logging_dir=logs
    )
    try:
        executor.run()
    finally:
        shutil.rmtree(logs, ignore_errors=True)
