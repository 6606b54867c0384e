"""Shards as tasks of datatrove's executors, so that a `sharded` table can be built by many processes or machines.

In: a store, a plan, the dotted name of a function `(store, plan, index) -> pyarrow.Table`, and the recipe's executor. Out: the
finished record.
datatrove stays at the edge: its own completion markers are ignored (the run record is the only truth) and its logging
directory is thrown away. Task arguments are store, table, partition, plan id and the coordinator's process; nothing secret is
pickled. Every file of a shard appears whole or not at all, so a task that ran twice, or half, changes nothing.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from builders.recipe import Executor
from store import Plan, Record, Store, Usage, files, segments
from store.lock import STOPPED, Owner, coordinator_alive, is_held_by, owner, stop_with_coordinator
from store.runs import Partition
from store.shards import inspect_shard

Make = Callable[[Store, Plan, int], pa.Table]


@dataclass(frozen=True)
class Work:
    """What a task knows: where its plan is on record, who makes its rows, and whose task it is."""

    root: str
    table: str
    partition: Partition
    plan_id: str
    dotted: str
    owner: Owner


def function(dotted: str) -> Make:
    """`builders.raw_pool:shard` as the function it names."""
    module, name = dotted.split(":")
    return getattr(importlib.import_module(module), name)


def build_sharded(store: Store, plan: Plan, dotted: str, executor: Executor) -> Record:
    """Build all missing shards of a plan: where the executor says, but the shard of a table that has only one, here."""
    record = store.begin(plan)
    if record.status == "complete":
        return record
    start = time.monotonic()
    missing = store.missing(plan)
    if plan.num_shards == 1 or (executor.kind == "local" and num_workers(executor) == 1):
        for index in store.track(missing, segments(plan.table, plan.partition)):
            store.write(plan, index, _rows(store, plan, dotted, index))
    elif missing:
        _run_tasks(store, plan, dotted, missing, executor)
    present = store.present(plan)
    if len(present) != plan.num_shards:
        lost = sorted(set(range(plan.num_shards or 0)) - present.keys())
        raise RuntimeError(f"{plan.table}: tasks failed for shards {lost}; run the same command again to resume")
    return store.finish(record, list(present.values()), record.usage.add(Usage(wall_s=time.monotonic() - start)))


def num_workers(executor: Executor) -> int:
    """Processes of a local executor: as asked, or one per CPU that this process may use.

    A shard is one thread of Python and takes its memory whatever their number, so more processes than CPUs gain nothing.
    """
    return _usable_cpus() if executor.workers == "auto" else executor.workers


def _usable_cpus() -> int:
    """CPUs by affinity and by the quota of a container: `os.cpu_count` of a small container is that of its large host."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, round(int(quota) / int(period))))


def run_one(work: Work, index: int) -> None:
    """One task: build one shard of the plan on record, in a worker that stops with the coordinator that started it."""
    watch_coordinator(work)
    store = Store(work.root)
    record = store.record(work.table, **work.partition)
    if record is None or record.plan.fingerprint != work.plan_id:
        raise RuntimeError(f"{work.table}: the plan changed while its tasks ran")
    directory = store.directory(work.table, **work.partition)
    if inspect_shard(store.fs, directory, index, work.plan_id) is not None:
        return  # made before the worker, or the whole task, was lost and given out again
    rows = _rows(store, record.plan, work.dotted, index)
    if not is_held_by(work.root, work.owner):
        os._exit(STOPPED)
    store.write(record.plan, index, rows)


def _rows(store: Store, plan: Plan, dotted: str, index: int) -> pa.Table:
    try:
        return function(dotted)(store, plan, index)
    except Exception as error:
        error.add_note(f"while building shard {index} of {segments(plan.table, plan.partition)} in {store.root}")
        raise


def watch_coordinator(work: Work) -> None:
    """End this process with the coordinator: one watching thread, however many shards the process builds."""
    _watch(work.root, **work.owner)


@cache
def _watch(root: str, **started_by: str) -> None:
    stop_with_coordinator(root, started_by)


def _run_tasks(store: Store, plan: Plan, dotted: str, missing: list[int], executor: Executor) -> None:
    mine = owner(store.root)
    if mine is None or not coordinator_alive(store.root):
        raise RuntimeError(f"workers need a coordinator: build in `with store.lock.coordinator({store.root!r})`")
    work = Work(store.root, plan.table, dict(plan.partition), plan.fingerprint, dotted, mine)
    with _progress(store, plan, len(missing)):
        if executor.kind == "local":
            from builders.executors import local

            local.run(work, missing, num_workers(executor))
        elif executor.kind == "ray":
            from builders.executors import ray

            ray.run(work, missing, executor)
        else:
            from builders.executors import slurm

            slurm.run(store, work, missing, executor)


@contextmanager
def _progress(store: Store, plan: Plan, num_missing: int) -> Iterator[None]:
    """A progress bar over the shards that appear in the store, wherever they are made."""
    directory = store.directory(plan.table, **plan.partition)
    before = (plan.num_shards or 0) - num_missing
    finished = threading.Event()

    def show() -> None:
        made = 0
        for number in store.track(range(1, num_missing + 1), segments(plan.table, plan.partition)):
            while made < number:
                if finished.wait(0.5):
                    return
                made = len(files.names(store.fs, directory, ".parquet")) - before

    bar = threading.Thread(target=show, daemon=True)
    bar.start()
    try:
        yield
    finally:
        finished.set()
        bar.join()
