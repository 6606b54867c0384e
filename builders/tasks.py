"""Shards as tasks of datatrove's executors, so that a `sharded` table can be built by many processes or machines.

In: a store, a plan and the dotted name of a function `(store, plan, index) -> pyarrow.Table`. Out: the finished record.
datatrove stays at the edge: its own completion markers are ignored (the run record is the only truth) and its logging
directory is thrown away. Task arguments are store, table, partition and plan id; nothing secret is pickled.
"""

from __future__ import annotations

import importlib
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pyarrow as pa

from store import Plan, Record, Store, Usage, segments
from store.lock import coordinator_alive, stop_with_coordinator
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
        for index in missing:
            _build_shard(store, plan, dotted, index)
    else:
        _run_tasks(store, plan, dotted, missing, workers)
    present = store.present(plan)
    if len(present) != plan.num_shards:
        lost = sorted(set(range(plan.num_shards or 0)) - present.keys())
        raise RuntimeError(f"{plan.table}: tasks failed for shards {lost}; run the same command again to resume")
    return store.finish(record, list(present.values()), record.usage.add(Usage(wall_s=time.monotonic() - start)))


def run_one(root: str, table: str, partition: Partition, plan_id: str, dotted: str, index: int) -> None:
    """One task: build one shard of the plan on record, in a worker that stops with its coordinator."""
    _watch_coordinator(root)
    store = Store(root)
    record = store.record(table, **partition)
    if record is None or record.plan.fingerprint != plan_id:
        raise RuntimeError(f"{table}: the plan changed while its tasks ran")
    _build_shard(store, record.plan, dotted, index)


def _build_shard(store: Store, plan: Plan, dotted: str, index: int) -> None:
    try:
        store.write(plan, index, function(dotted)(store, plan, index))
    except Exception as error:
        error.add_note(f"while building shard {index} of {segments(plan.table, plan.partition)} in {store.root}")
        raise


@cache
def _watch_coordinator(root: str) -> None:
    """One watching thread per worker process, however many shards it builds."""
    stop_with_coordinator(root)


def _run_tasks(store: Store, plan: Plan, dotted: str, missing: list[int], workers: int) -> None:
    if not coordinator_alive(store.root):
        raise RuntimeError(f"workers need a coordinator: build in `with store.lock.coordinator({store.root!r})`")
    from datatrove.executor import LocalPipelineExecutor

    from builders.shard_step import ShardStep

    step = ShardStep(store.root, plan.table, dict(plan.partition), plan.fingerprint, dotted, missing)
    logs = tempfile.mkdtemp(prefix="scoder-tasks-")
    executor: Any = LocalPipelineExecutor(
        pipeline=[step], tasks=len(missing), workers=workers, skip_completed=False, logging_dir=logs
    )
    try:
        with _stop_when_a_worker_dies():
            executor.run()
    finally:
        shutil.rmtree(logs, ignore_errors=True)


@contextmanager
def _stop_when_a_worker_dies() -> Iterator[None]:
    """A pool waits for ever for the task of a worker that the kernel killed, mostly for its memory: end it instead.

    Only the main thread can be woken up; in another one the pool waits as it always did.
    """
    import multiprocess

    done, lost = threading.Event(), list[str]()

    def watch() -> None:
        seen: dict[int, Any] = {}
        while not done.wait(0.5):
            seen |= {child.pid: child for child in multiprocess.active_children()}
            # a finished pool ends its workers with SIGTERM
            dead = [c for c in seen.values() if c.exitcode not in (None, 0, -signal.SIGTERM)]
            if dead and not done.is_set():
                lost.append(f"a worker process died (exit code {dead[0].exitcode}; -9 mostly means out of memory)")
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    if threading.current_thread() is threading.main_thread():
        watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if not lost:
            raise
        raise RuntimeError(f"{lost[0]}; run the same command again to resume, with fewer `executor.workers`") from None
    finally:
        done.set()
