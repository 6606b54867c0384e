"""What a task is, and how one shard is built, wherever that happens.

In: a store, a plan, and the dotted name of a function `(store, plan, index) -> pyarrow.Table`. Out:
one shard in the store. A task knows the store, table, partition, plan id and the process of its
coordinator. Nothing secret is pickled. A shard appears whole or not at all. So a task that ran
twice, or only half, changes nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from store import Plan, Store, segments
from store.errors import JobError
from store.lock import STOPPED, Owner, is_held_by, stop_with_coordinator
from store.runs import Partition

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


def run_one(work: Work, index: int) -> None:
    """One task: build one shard of the plan on record.

    The worker stops when the coordinator that started it is gone.
    """
    watch_coordinator(work)
    store = Store(work.root)
    record = store.record(work.table, **work.partition)
    if record is None or record.plan.fingerprint != work.plan_id:
        raise JobError(f"{work.table}: the plan changed while its tasks ran: run the same command again")
    if store.has_shard(record.plan, index):
        return  # an earlier attempt had made the shard before its worker was lost
    made = rows(store, record.plan, work.dotted, index)
    if not is_held_by(work.root, work.owner):
        os._exit(STOPPED)
    store.write(record.plan, index, made)


def rows(store: Store, plan: Plan, dotted: str, index: int) -> pa.Table:
    """The rows of a shard. If it fails, the exception says which shard it was."""
    try:
        return function(dotted)(store, plan, index)
    except Exception as error:
        error.add_note(f"while building shard {index} of {segments(plan.table, plan.partition)} in {store.root}")
        raise


def watch_coordinator(work: Work) -> None:
    """End this process when its coordinator is gone.

    One thread watches, for any number of shards.
    """
    _watch(work.root, **work.owner)


@cache
def _watch(root: str, **started_by: str) -> None:
    stop_with_coordinator(root, started_by)
