"""Build a `sharded` table where the recipe's executor says.

In: a store, a plan, the dotted name of the function that makes the rows of one shard, and the
recipe's executor. Out: the finished record of the table.

    build_sharded(store, plan, "builders.snippet_checks:shard", recipe.executor)

`local`, `ray` and `slurm` run the tasks. Each returns when its tasks have ended, well or not, and
raises a failure that has a name. Then we look into the store: only that says which shards are
there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from builders.executors import work
from builders.executors.cpus import usable_cpus
from builders.recipe import Executor
from store import Plan, Record, Store, Usage, files, segments
from store.errors import JobError
from store.lock import coordinator_alive, owner


def build_sharded(store: Store, plan: Plan, dotted: str, executor: Executor) -> Record:
    """Build all missing shards of a plan where the executor says, and return the finished record.

    A table of a single shard is built in this process. JobError names the shards that failed.
    """
    record = store.begin(plan)
    if record.status == "complete":
        return record
    start = time.monotonic()
    missing = store.missing(plan)
    if plan.num_shards == 1 or (executor.kind == "local" and num_workers(executor) == 1):
        for index in store.track(missing, segments(plan.table, plan.partition)):
            store.write(plan, index, work.rows(store, plan, dotted, index))
    elif missing:
        _build_missing(store, plan, dotted, missing, executor)
    present = store.present(plan)
    if len(present) != plan.num_shards:
        lost = sorted(set(range(plan.num_shards or 0)) - present.keys())
        raise JobError(f"{plan.table}: the tasks of shards {lost} failed; run the same command again to resume")
    return store.finish(record, list(present.values()), record.usage.add(Usage(wall_s=time.monotonic() - start)))


def num_workers(executor: Executor) -> int:
    """Processes of a local executor: as asked, or one per CPU that this process may use.

    A shard is one thread of Python, and each process takes memory. So more processes than CPUs gain
    nothing.
    """
    return usable_cpus() if executor.workers == "auto" else executor.workers


def _build_missing(store: Store, plan: Plan, dotted: str, missing: list[int], executor: Executor) -> None:
    mine = owner(store.root)
    if mine is None or not coordinator_alive(store.root):
        raise RuntimeError(f"workers need a coordinator: build in `with store.lock.coordinator({store.root!r})`")
    task = work.Work(store.root, plan.table, dict(plan.partition), plan.fingerprint, dotted, mine)
    with _progress(store, plan, len(missing)):
        if executor.kind == "local":
            from builders.executors import local

            local.run(task, missing, num_workers(executor))
        elif executor.kind == "ray":
            from builders.executors import ray

            ray.run(task, missing, executor)
        else:
            from builders.executors import slurm

            slurm.run(store, task, missing, executor)


@contextmanager
def _progress(store: Store, plan: Plan, num_missing: int) -> Iterator[None]:
    """A progress bar over the shards that appear in the store, wherever they are made."""
    directory = store.work_folder(plan)
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
